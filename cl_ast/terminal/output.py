"""How commands print: whatever goes to standard output or error is escaped here (`cl_ast.escaping`).

A command prints a line (`print_line`, `warn`), a text in some format (`print_text`), or a table, on a console of
`rendering.console`. Nothing else in the command line prints or asks; `tests/cli/test_escapes.py` holds this.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cl_ast.errors import ClAstError
from cl_ast.escaping import escaped_line, escaped_lines
from cl_ast.progress import ClAstWarning
from cl_ast.terminal.log_file import log
from cl_ast.terminal.result_file import result_in

if TYPE_CHECKING:
    from registry import TaskRecord

Command = Callable[..., Any]


def table_or(*kinds: str, own_output: bool = False) -> Callable[[Command], Command]:
    """Add the options `--format`, a table or one of these, and `--output`, a file for the result.

    Args:
        own_output: whether the command itself gets `output` and writes there; else that is done around it.
    """
    form = click.option("--format", "kind", type=click.Choice(["table", *kinds]), default="table", show_default=True)
    place = click.option(
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write the result to FILE: all of it or nothing.",
    )

    def with_options(command: Command) -> Command:
        @wraps(command)  # with the options that it has already
        def written(*arguments: Any, output: Path | None, **given: Any) -> Any:
            with result_in(output):
                return command(*arguments, **given)

        return form(place(command if own_output else written))

    return with_options


def print_line(line: str) -> None:
    """Print a sentence about the result as one line."""
    _print(wrapped(escaped_line(line), sys.stdout))


def print_text(text: str) -> None:
    """Print a text of several lines whose values are escaped already, as `rendering.formats` and tables make it."""
    _print(escaped_lines(text))


def _print(text: str) -> None:
    """Print a text that is escaped already. Raise ClAstError where it cannot be printed, as to a full disk."""
    try:
        click.echo(text)  # which flushes, so that no error is left for the end
    except BrokenPipeError:
        raise
    except OSError as error:
        # Python would try to write the rest again when it ends, and complain.
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ClAstError(
            f"the output cannot be written ({error.strerror or error}); free some space or write it elsewhere"
        ) from error


def warn(line: str) -> None:
    """Print a line to standard error, which may be closed or full: the answers count more."""
    note(f"cl-ast: {line}")


def note(line: str) -> None:
    """Print a line, such as one of progress, to standard error."""
    text = escaped_line(without_home(line))
    log(text)
    with suppress(OSError):
        _print_above_bars(wrapped(text, sys.stderr))


def _print_above_bars(text: str) -> None:
    """Print to `sys.stderr`, where rich prints above its bars while it shows some; `err=True` would go past rich."""
    click.echo(text, file=sys.stderr)


def print_traceback(*, shown: bool) -> None:
    """Print the traceback of the exception that is being handled, with its messages escaped.

    Args:
        shown: whether to print it to standard error, too, and not to the log file alone.
    """
    text = escaped_lines(traceback.format_exc().rstrip())
    log(text)
    if shown:
        with suppress(OSError):
            _print_above_bars(text)


def usage(message: str) -> str:
    """Return what is wrong with the words of a command, as click is going to print it."""
    begin = "Error: "  # which click puts before it
    return wrapped(f"{begin}{escaped_lines(message)}", sys.stderr).removeprefix(begin)


def wrapped(line: str, stream: Any) -> str:
    """Return a sentence with line ends at some of its spaces, so that a terminal does not break its words.

    A word that is longer than a line stays whole, and so does everything where the stream is no terminal.
    """
    if not _is_terminal(stream):
        return line
    from rich.cells import cell_len

    from cl_ast.terminal.rendering.console import console

    width = console().width
    first, *others = re.split(r" (?!%)", line)  # a number stays with its %
    lines = [first]
    for word in others:
        longer = f"{lines[-1]} {word}"
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def can_ask() -> bool:
    """Return whether there is somebody to answer: a terminal to write to, and one to read from."""
    return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)


def _is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal; a closed one is none."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def answer_to(question: str) -> str:
    """Ask on standard error, and return the line that was answered; no text after Ctrl-C or at the end of input."""
    try:
        click.echo(f"{wrapped(escaped_line(question), sys.stderr)} ", err=True, nl=False)
        answer = sys.stdin.readline()
    except (KeyboardInterrupt, UnicodeDecodeError):
        answer = ""
    if not answer.endswith("\n"):  # the line was not ended
        click.echo(err=True)
    return answer.strip()


def without_home(line: str) -> str:
    """Return a line with `~` for the user's folder: such lines are pasted into reports, and it has the user's name."""
    with suppress(RuntimeError):  # a user without a home
        home = str(Path.home())
        return re.sub(re.escape(home) + r"(?![\w.-])", "~", line) if len(home) > 1 else line
    return line


@contextmanager
def without_collections() -> Iterator[None]:
    """Pause the search for cyclic garbage: among very many records it takes a quarter of the time and finds nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    from cl_ast.terminal.rendering.formats import as_json

    print_text(as_json(value))


def imported_line(record: TaskRecord) -> str:
    """Return what is said of a task that was just imported."""
    return f"imported {record.name} as version {record.version.number}, with {len(record.labels)} labels"


def say_by_name_only(record: TaskRecord) -> None:
    """Say that a task that was just imported answers by name only, and what makes the router choose it."""
    from cl_ast.tasks.origin import how_to_route

    warn(
        f"{record.name} answers by name only, as the router knows none of its clips: {how_to_route(record.name)} "
        "learns them from DIR, a folder of clips of that kind"
    )


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print every warning inside the block, which may name files and labels, escaped and to standard error.

    One of cl-ast is one line, each time that it is given.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", ClAstWarning)
        warnings.showwarning = _show_warning
        yield


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """Print a warning; Python calls this with the arguments of `warnings.showwarning`."""
    if issubclass(category, ClAstWarning):
        warn(str(message))
        return
    with suppress(OSError):
        text = warnings.formatwarning(message, category, filename, lineno, line)
        _print_above_bars(escaped_lines(text.rstrip()))
