"""The command line: the global options and all commands. Nothing heavier than click is imported until one runs."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from cl_ast.errors import ClAstError
from cl_ast.terminal.app import App
from cl_ast.terminal.commands import COMMANDS
from cl_ast.terminal.encoding import prepare_streams
from cl_ast.terminal.global_options import REGISTRY_VARIABLE, VERBOSE, Device, with_global_options
from cl_ast.terminal.log_file import log, open_log
from cl_ast.terminal.output import print_traceback, usage, warn, warnings_as_lines


class Commands(click.Group):
    """A group whose commands end with one clear line: 0 done, 1 could not, 2 wrong usage. Warnings are lines, too."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Parse the global options; what click says of wrong ones is escaped."""
        with _usage_escaped():
            return super().make_context(*arguments, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the global options; without any word, show the help."""
        return super().parse_args(ctx, args or ["--help"])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and turn an error into its line."""
        try:
            with _usage_escaped(), warnings_as_lines():
                result = super().invoke(ctx)
                log("done")
                return result
        except (click.exceptions.Exit, click.Abort, click.ClickException, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            reason = _reason(error)
            shown = bool(ctx.params.get("verbose")) or VERBOSE in ctx.meta
            if shown or not isinstance(error, (ClAstError, KeyboardInterrupt)):
                print_traceback(shown=shown)
        warn(reason)
        raise click.exceptions.Exit(1)


@contextmanager
def _usage_escaped() -> Iterator[None]:
    """Escape and wrap what click is going to print of wrong usage, which has words of the command line in it."""
    try:
        yield
    except click.UsageError as error:
        message = error.format_message()
        shown = usage(message)
        if shown == message:
            raise
        raise click.UsageError(shown, error.ctx) from None


def _reason(error: BaseException) -> str:
    if isinstance(error, ClAstError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped; the registry holds every finished task, and nothing half-written"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left on the device that is written to; free some, and run it again"
    return f"unexpected {type(error).__name__}: {error}; run again with -v for the traceback"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--registry",
    "location",
    envvar=REGISTRY_VARIABLE,
    metavar="PATH|URL",
    help="Folder of the registry, made when you add or import a task, or a URL (docs/registry.md). "
    f"[env: {REGISTRY_VARIABLE}; default: the user data folder]",
)
@click.option("--device", default="auto", type=Device(), show_default=True, help="Where to compute; auto is the GPU.")
@click.option("--log-file", type=click.Path(path_type=Path), metavar="FILE", help="Add progress and messages to FILE.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks of errors.")
@click.version_option(package_name="cl-ast")
@click.pass_context
def main(
    ctx: click.Context, location: str | None, device: str, log_file: Path | None, quiet: bool, verbose: bool
) -> None:
    """Teach one frozen Audio Spectrogram Transformer many audio tasks, and forget none.

    The options below may stand after the command, too.

    \b
    cl-ast demo                              # see it work, offline, in minutes
    cl-ast add-task path/to/labelled-clips
    cl-ast predict clip.wav --task auto
    cl-ast stats
    """
    prepare_streams()
    if log_file is not None:
        open_log(ctx, log_file)
    ctx.obj = App(location or _user_folder(), device, quiet, verbose)


for _command in COMMANDS:
    main.add_command(with_global_options(_command))


def _user_folder() -> str:
    import platformdirs

    return str(Path(platformdirs.user_data_dir("cl-ast")) / "registry")
