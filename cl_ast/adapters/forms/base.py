"""What a form is: a frozen row of sizes that owns no weights, and the optional things that some forms can do."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from cl_ast.backbone.sites import Heads

Params = Mapping[str, Tensor]
Start = Literal["zeros", "ones", "uniform", "choice"]

Fresh = Literal["zero", "identity", "other"]
"""What a fresh form computes: a delta of zero, the value it was given, or neither."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a form: its shape, and how it starts.

    Attributes:
        start: "zeros", "ones", "uniform" (as torch's Linear and Conv1d start), or "choice" (different whole numbers
            below `fan_in`, drawn once).
        fan_in: of a "uniform" or a "choice" start.
        trained: False for what is stored with the task but not optimised, such as running statistics.
        shared: one tensor for all layers and sites.
        bits: 1 where a file holds signs and one magnitude (packing.py), else 32.
    """

    shape: tuple[int, ...]
    start: Start = "zeros"
    fan_in: int = 0
    trained: bool = True
    shared: bool = False
    bits: int = 32

    def make(self, generator: torch.Generator) -> Tensor:
        """A fresh tensor on the CPU."""
        if self.start == "choice":
            return torch.randperm(self.fan_in, generator=generator)[: self.shape[0]].sort().values.int()
        if self.start == "uniform":
            bound = 1 / math.sqrt(self.fan_in)
            return torch.empty(self.shape).uniform_(-bound, bound, generator=generator)
        return torch.ones(self.shape) if self.start == "ones" else torch.zeros(self.shape)

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def memory_dtype(self) -> torch.dtype:
        """The type of its tensor in memory."""
        return torch.int32 if self.start == "choice" else torch.float32

    @property
    def file_dtype(self) -> torch.dtype:
        """The type of its tensor in a file."""
        return torch.uint8 if self.bits == 1 else self.memory_dtype

    @property
    def bytes(self) -> int:
        """What a file holds of it; 1-bit weights add one magnitude of 4 bytes."""
        return -(-self.numbers // 8) + 4 if self.bits == 1 else 4 * self.numbers


class Base(Protocol):
    """What every form has."""

    @property
    def label(self) -> str:
        """What its tensors are called inside a site."""
        ...

    @property
    def fresh(self) -> Fresh: ...

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        """The tensors of one layer, by name. Raises MethodError where its sizes do not fit the widths."""
        ...


@runtime_checkable
class Form(Base, Protocol):
    """A way to compute a delta, or a new value, from a hidden state."""

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        """x (batch, tokens, width_in) to the delta (batch, tokens, width_out)."""
        ...


@runtime_checkable
class HeadsForm(Base, Protocol):
    """A form that acts inside attention, at the site "heads"."""

    def attend(self, run: Callable[[Heads], Tensor], x: Heads, p: Params) -> Tensor:
        """The outputs of the heads (batch, heads, n, d); `run` is attention without this form."""
        ...


# What some forms can do besides; found by isinstance, never by name.


@runtime_checkable
class Started(Protocol):
    """Some of its tensors start from the backbone's own."""

    def start(self, stock: Params) -> Mapping[str, Tensor]:
        """Those tensors; `stock` is the backbone's weight and bias at the site."""
        ...


@runtime_checkable
class Reading(Protocol):
    """Computes with the backbone's own tensors, which it finds in its parameters as `stock.NAME`."""

    @property
    def reads(self) -> tuple[str, ...]: ...


@runtime_checkable
class Penalised(Protocol):
    """Adds a term to the loss."""

    def penalty(self, p: Params) -> Tensor:
        """A scalar, from one set of weights."""
        ...


@runtime_checkable
class Foldable(Protocol):
    """Can be folded into the stock module's own weight and bias: no extra cost afterwards."""

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        """The tensors of the stock module that acts as the adapted one did."""
        ...


@runtime_checkable
class Simplified(Protocol):
    """A plainer form computes the same from the same tensors once training is over."""

    def simplified(self) -> Base: ...
