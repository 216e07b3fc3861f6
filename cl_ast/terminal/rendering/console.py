"""The consoles of rich that the command line prints tables and progress on; no others are made."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from cl_ast.escaping import escaped_lines


def console(*, err: bool = False, width: int | None = None) -> Console:
    """Return a console on standard output or error, which takes nothing in a text for markup, emoji or a number."""
    return _EscapingConsole(stderr=err, width=width, highlight=False, markup=False, emoji=False)


class _EscapingConsole(Console):
    """A console on which only rich itself can move the cursor or choose a colour.

    Tables escape their cells before they measure them (`layout`), so that columns stay as wide as they should be and no
    value makes a row of its own. This is the net below: whatever text is left is escaped when it is printed.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of what is printed, with the text of each escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escaped_lines(segment.text), segment.style)
