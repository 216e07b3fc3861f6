"""One line of the results, as every benchmark gives it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured, beside what, and whether the target was met.

    Attributes:
        ratio: to `against`, where there is a peer; `value` is what was measured, in `unit`.
        spread: of the rounds.
        note: what limits it, or what a reader must know.
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
