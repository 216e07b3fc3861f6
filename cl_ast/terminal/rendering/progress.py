"""Shows progress on standard error: a bar for each stage in a terminal, a line for each stage elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cl_ast.escaping import escaped_line
from cl_ast.progress import Step
from cl_ast.terminal.log_file import log
from cl_ast.terminal.output import note, print_text, wrapped
from cl_ast.terminal.rendering.console import console
from cl_ast.wording import duration


class ProgressDisplay:
    """Shows progress; to be used as a context manager, and called with each step."""

    def __init__(self, *, quiet: bool = False, lines: bool = True) -> None:
        """
        Args:
            quiet: whether to show nothing.
            lines: whether stages are lines where there is no terminal.
        """
        self._quiet = quiet
        self._lines = lines
        self._console = console(err=True)
        self._bars = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=28),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._stage: str | None = None
        self._bar: TaskID | None = None
        self._tenth = 0
        self._started = time.monotonic()

    def __enter__(self) -> "ProgressDisplay":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stop(self) -> None:
        """Remove the bars, as at the end."""
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars; it stays there."""
        log(escaped_line(line))
        if not self._quiet:
            self.tell(line)

    def tell(self, line: str) -> None:
        """Print a line that answers the user, even where no progress is shown."""
        self._console.print(wrapped(escaped_line(line), self._console.file), soft_wrap=True)

    def say_total_time(self) -> None:
        """Print how long everything took since this display was made."""
        self.say(f"took {duration(time.monotonic() - self._started)} in all")

    def result(self, text: str) -> None:
        """Print a part of the command's result to standard output, as `print_text` does; bars are removed meanwhile."""
        self._bars.stop()
        print_text(text)
        self._bars.start()

    def bytes_of(self, name: str) -> Callable[[int, int | None], None]:
        """Return the callback of a download, which takes the bytes so far and, if known, the bytes in all."""
        return lambda done, total: self(Step(f"downloading {name}", done, max(total or done, 1)))

    def __call__(self, step: Step) -> None:
        self._line(step)
        if self._quiet or not self._console.is_terminal:
            return
        if step.stage != self._stage:
            if self._bar is not None:
                self._bars.remove_task(self._bar)
            self._stage = step.stage
            self._bar = self._bars.add_task(escaped_line(step.stage), total=step.total, note="")
        assert self._bar is not None
        self._bars.update(self._bar, completed=step.done, total=step.total, note=escaped_line(_note(step)))
        if step.done >= step.total:
            self._bars.remove_task(self._bar)
            self._bar = self._stage = None

    def _line(self, step: Step) -> None:
        """Write a line at the end of a stage, when one is announced, and after every tenth of a training.

        A terminal has a bar instead.
        """
        tenth = 10 * step.done // max(1, step.total)
        announced = step.done == 0 < step.total
        if announced or step.done == step.total or (step.note and tenth != self._tenth):
            line = f"{step.stage} {step.done}/{step.total} {_note(step)}".rstrip()
            line = f"{step.stage} …" if announced else line
            if self._quiet or self._console.is_terminal or not self._lines:
                log(escaped_line(line))
            else:
                note(line)
        self._tenth = tenth


def _note(step: Step) -> str:
    parts = [step.note]
    if step.loss is not None:
        parts.append(f"loss {step.loss:.3f}")
    if step.accuracy is not None:
        parts.append(f"accuracy {step.accuracy:.1%}")
    return "  ".join(part for part in parts if part)
