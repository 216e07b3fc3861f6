"""The type of a row in the table of methods."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cl_ast.adapters.options import Option, Values
from cl_ast.adapters.placement import Placement

Trains = Literal["adapter", "head", "backbone"]


def nowhere(_: Values) -> tuple[Placement, ...]:
    """Return no placements: the method has no adapter."""
    return ()


@dataclass(frozen=True, slots=True)
class Method:
    """An adaptation method: a row of the table.

    Attributes:
        name: the name that `--method` takes.
        does: what the method does, in one line for a person.
        equation: what it computes, in one line.
        source: paper and table.
        options: the options that may follow the name.
        place: returns the placements for the values of the options.
        trains: what is trained besides the head: an adapter, nothing ("head"), or the whole backbone.
        learning_rate: the papers' initial learning rate; it decays to 0 along a cosine.
        settle: fills in the values that follow from other options; raises MethodError for options that do not fit
            together.
        formerly: fills in what a text means that an earlier release stored, where today's default is another. It comes
            before `settle`.
        counted_in_head: returns the head's tensors that the papers count as parameters of the method.
        without_gradient: endings of the names of tensors whose gradient is always zero when the method is used alone.
        acts_as: of a method that reads a shared part, returns the ordinary method that it is once the shared part is
            read, as it is written; "" for all other methods.
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
    formerly: Callable[[Values], Values] = lambda values: values
    counted_in_head: Callable[[Values], tuple[str, ...]] = lambda _: ()
    without_gradient: tuple[str, ...] = ()
    acts_as: Callable[[Values], str] = lambda _: ""
