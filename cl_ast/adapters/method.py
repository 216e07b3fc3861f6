"""What a row of the table of methods is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cl_ast.adapters.options import Option, Values
from cl_ast.adapters.placement import Placement

Trains = Literal["adapter", "head", "backbone"]


def nowhere(_: Values) -> tuple[Placement, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table.

    Attributes:
        name: what `--method` takes.
        does: one line for a person.
        equation: what it computes, in one line.
        source: paper and table.
        options: what may follow the name.
        place: the placements that the options mean.
        trains: besides the head: an adapter, nothing, or the whole backbone.
        learning_rate: the papers' start of the cosine.
        settle: fills in what one option decides about another, and refuses what does not go together.
        counts: tensors of the head that the papers count with the method.
        still: endings of the names of tensors that no loss can move when the method is alone.
    """

    name: str
    does: str
    equation: str
    source: str
    options: tuple[Option, ...] = ()
    place: Callable[[Values], tuple[Placement, ...]] = nowhere
    trains: Trains = "adapter"
    learning_rate: float = 5e-3
    settle: Callable[[Values], Values] = lambda values: values
    counts: tuple[str, ...] = ()
    still: tuple[str, ...] = ()
