"""A line of the results, as every benchmark returns it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Says what was measured, what it was compared with, and whether the target was met.

    Attributes:
        ratio: what was measured, divided by the same of `against`; None where it is compared with nothing.
        value: what was measured, in `unit`.
        spread: the range over the rounds, in words.
        note: what limits the figure, or what a reader must know.
    """

    what: str
    against: str
    ratio: float | None
    value: float | None
    unit: str
    spread: str
    target: str
    met: bool
    note: str
