"""The interface of a form, which every form has, and the further interfaces that some forms have."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from cl_ast.backbone.sites import Heads, Shape

Params = Mapping[str, Tensor]
"""The tensors of one form in one layer, by the form's own names."""

Start = Literal["zeros", "ones", "uniform", "choice"]

Fresh = Literal["zero", "identity", "other"]
"""What an untrained form computes: a delta of zero, its input unchanged ("identity"), or something else."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a form: its shape, and how it starts.

    Attributes:
        start: "zeros", "ones", "uniform" (as torch's Linear and Conv1d start), or "choice" (distinct whole numbers
            below `fan_in`, drawn once).
        fan_in: the number of inputs, for a "uniform" or a "choice" start.
        trained: False for a tensor that is stored with the task but not optimised, such as running statistics.
        shared: whether all layers and sites share this one tensor.
        bits: 1 if a file holds only signs and one magnitude (`one_bit`), else 32.
        centred: of a tensor of 1 bit, whether the file has its mean and deviation in place of a magnitude.
        single: whether it stays in single precision where the layers compute in bf16, such as running statistics.
    """

    shape: tuple[int, ...]
    start: Start = "zeros"
    fan_in: int = 0
    trained: bool = True
    shared: bool = False
    bits: int = 32
    centred: bool = False
    single: bool = False

    def make(self, generator: torch.Generator) -> Tensor:
        """Return a new, untrained tensor on the CPU."""
        if self.start == "choice":
            return torch.randperm(self.fan_in, generator=generator)[: self.shape[0]].sort().values.int()
        if self.start == "uniform":
            bound = 1 / math.sqrt(self.fan_in)
            return torch.empty(self.shape).uniform_(-bound, bound, generator=generator)
        return torch.ones(self.shape) if self.start == "ones" else torch.zeros(self.shape)

    @property
    def numbers(self) -> int:
        """How many numbers the tensor has."""
        return math.prod(self.shape)

    @property
    def memory_dtype(self) -> torch.dtype:
        """The tensor's type in memory."""
        return torch.int32 if self.start == "choice" else torch.float32

    @property
    def file_dtype(self) -> torch.dtype:
        """The tensor's type in a file."""
        return torch.uint8 if self.bits == 1 else self.memory_dtype

    @property
    def bytes(self) -> int:
        """The tensor's size in a file; 1-bit weights need 4 more bytes for each number beside their signs."""
        return -(-self.numbers // 8) + (8 if self.centred else 4) if self.bits == 1 else 4 * self.numbers


class Place(NamedTuple):
    """Where a form acts.

    Attributes:
        shape: the sizes of the backbone.
        layer: the layer, counted from 0.
        site: one of `sites.SITES`, or `sites.EMBEDDING`.
        lowest: the lowest layer that the method adapts.
    """

    shape: Shape
    layer: int
    site: str
    lowest: int


class Base(Protocol):
    """The part of the interface that every form has."""

    @property
    def label(self) -> str:
        """The form's name, which is part of the names of its tensors in a file."""
        ...

    @property
    def fresh(self) -> Fresh:
        """What the untrained form computes."""
        ...

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        """Return the tensors of one layer, by name. Raises MethodError if the form's sizes do not fit the widths."""
        ...


@runtime_checkable
class Form(Base, Protocol):
    """A form that computes a delta, or a new value, from hidden states."""

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        """Return the delta (batch, tokens, width_out) for hidden states x (batch, tokens, width_in).

        Args:
            p: the form's tensors in the type of x, but for those that are `Weight.single`.
        """
        ...


@runtime_checkable
class HeadsForm(Base, Protocol):
    """A form that acts inside attention, at the site "heads"."""

    def attend(self, run: Callable[[Heads], Tensor], x: Heads, p: Params) -> Tensor:
        """Return the outputs of the heads (batch, heads, n, d); `run` computes attention without this form."""
        ...


# Further abilities that some forms have. Callers test for them with isinstance, never by the form's name.


@runtime_checkable
class Located(Protocol):
    """A form that depends on where in which backbone it acts."""

    def located(self, place: Place) -> Base:
        """Return the form for this place."""
        ...


@runtime_checkable
class StartsFromBackbone(Protocol):
    """A form some of whose tensors start from those of the backbone."""

    def start(self, stock: Params) -> Mapping[str, Tensor]:
        """Return the initial values of these tensors; `stock` is the backbone's weight and bias at the site."""
        ...


@runtime_checkable
class ReadsBackbone(Protocol):
    """A form that computes with the backbone's tensors, which it gets among its parameters as `stock.NAME`."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the backbone's tensors that the form needs, such as "weight"."""
        ...


@runtime_checkable
class ReadsShared(Protocol):
    """A form that computes with tensors that several tasks share; it gets them among its parameters as `shared.NAME`.

    Its own tensors and the shared ones make those of an ordinary form, `acting`, as which it computes.
    """

    @property
    def acting(self) -> Base:
        """The ordinary form."""
        ...

    def shared(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        """Return the shared tensors of one layer, by name. Raises MethodError as `weights` does."""
        ...

    def expanded(self, p: Params) -> Params:
        """Return the tensors of `acting` in one layer; gradients pass through."""
        ...


@runtime_checkable
class Penalised(Protocol):
    """A form that adds a term to the loss."""

    def penalty(self, p: Params) -> Tensor:
        """Return the term, a scalar, for the tensors of one place; the loss gets the mean over all places."""
        ...


@runtime_checkable
class Anchored(Protocol):
    """A form with trained tensors that weight decay pulls to other values than zero."""

    def anchors(self, p: Params) -> Mapping[str, Tensor]:
        """Return these values, by the names of the tensors; p has the tensors of one layer, and what the form reads."""
        ...


@runtime_checkable
class Foldable(Protocol):
    """A form that can be folded into the stock module's weight and bias, so that it costs nothing afterwards."""

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        """Return the weight and bias with which the stock module computes what the adapted one did."""
        ...


@runtime_checkable
class Paddable(Protocol):
    """A form with a rank, which computes the same with a larger one if zeros are added to its tensors."""

    @property
    def rank(self) -> int:
        """The width that it projects down to."""
        ...

    def widened(self, rank: int) -> Base:
        """Return the form with another rank, and equal for all forms whose tensors can be padded to it."""
        ...

    def padded(self, p: Params, rank: int) -> Params:
        """Return the tensors of `widened(rank)` that compute what p does."""
        ...


@runtime_checkable
class ForTraining(Protocol):
    """A form that acts in training only; a file has a smaller form, which computes the same from other tensors."""

    def finished(self) -> Base:
        """Return the form that a file has."""
        ...

    def finish(self, p: Params) -> Params:
        """Return the tensors of that form in one layer."""
        ...


@runtime_checkable
class Simplifiable(Protocol):
    """A form for which, after training, a simpler form computes the same from the same tensors."""

    def simplified(self) -> Base:
        """Return the simpler form."""
        ...


@runtime_checkable
class Rewound(Protocol):
    """A form for training that is trained twice: as a whole, and then, from its start again, where it changed most."""

    def changes(self, p: Params) -> Tensor:
        """Return by how much each number of one place has changed, (numbers,)."""
        ...

    def most(self, changes: Tensor) -> Tensor:
        """Return which numbers of all places changed most (numbers,), as ones among zeros, from their changes."""
        ...

    def rewind(self, p: Params, chosen: Tensor) -> None:
        """Take the tensors of one place back to their start, and train only what is one in `chosen` (numbers,)."""
        ...


@runtime_checkable
class Allocated(Protocol):
    """A form for training with parts, of which those that matter least in all places are given up step by step."""

    def observe(self, p: Params) -> None:
        """Learn from the gradients of a step how much each part of one place matters."""
        ...

    def importance(self, p: Params) -> Tensor:
        """Return how much each part of one place matters, (parts,)."""
        ...

    def parts_after(self, step: int, total: int, places: int) -> int | None:
        """Return how many parts all places together keep after a step, of `total`; None if none is given up then."""
        ...

    def is_settled(self, step: int, total: int) -> bool:
        """Return whether no more parts are given up after this step."""
        ...

    def keep(self, p: Params, mask: Tensor) -> None:
        """Keep the parts of one place that are one in `mask` (parts,), which becomes p["mask"]; undo the others."""
        ...


@runtime_checkable
class Joined(Protocol):
    """A form that has one set of tensors for all places, which is made of those that training had in each."""

    def joined(self, parts: Sequence[Params]) -> Params:
        """Return this set, from what `ForTraining.finish` returned for each place, in order."""
        ...
