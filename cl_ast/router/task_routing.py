"""A task's part of the router, and how it is stored in the task's file."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_ast.errors import CorruptRegistryError
from cl_ast.router.calibration import ALPHA, check_confidence, check_fits, p_values
from cl_ast.router.kinds import KINDS, Fits, Negatives, State, fits_of
from registry import header

_COMMON = {"calibration", "sureness", "recipe"}  # the tensors that every kind of router has
_ALPHA, _NEGATIVE = "alpha", "negative."  # the names of what only some tasks have
PREFIX = "router."
"""How the names of the tensors of a task's routing begin in its file."""


@dataclass(frozen=True, slots=True)
class TaskRouting:
    """A task's state and calibration, and the identity of the descriptions that they were learned from.

    Attributes:
        kind: the kind of router, one of `KINDS`.
        state: the task's state for that kind of router.
        calibration: (101,) order statistics of the fits of clips that the state was not learned from.
        confidence: (101,) order statistics of how confident the task's head is of clips that it was not trained on.
        description_id: the `RouterSpace.description_id` of the descriptions, 16 bytes.
        alpha: the p-value below which a clip is unknown, in whole hundredths.
        negatives: sounds that are none of the task's classes, if there are any.
    """

    kind: str
    state: State
    calibration: Tensor
    confidence: Tensor
    description_id: bytes
    alpha: float = ALPHA
    negatives: Negatives | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that the task's file stores."""
        # "sureness" and "recipe" are the names in files of registries that exist.
        identity = torch.frombuffer(bytearray(self.description_id), dtype=torch.uint8)
        own = {"calibration": self.calibration, "sureness": self.confidence, "recipe": identity}
        if self.alpha != ALPHA:  # else the file is as older releases can read it
            own[_ALPHA] = torch.tensor([round(self.alpha * 100)], dtype=torch.uint8)
        negative = {} if self.negatives is None else self.negatives.state.tensors()
        return {**self.state.tensors(), **own, **{f"{_NEGATIVE}{name}": tensor for name, tensor in negative.items()}}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], dimensions: int) -> "TaskRouting":
        """Return the routing with these tensors, after strict checks.

        The caller first compares `description_id_of` with its own: other descriptions may have other shapes.

        Args:
            dimensions: the number of dimensions of a description.

        Raises:
            CorruptRegistryError: `learn` cannot have made the tensors, which would then draw the clips of other tasks.
        """
        kind = kind_of(tensors)
        for name, tensor in tensors.items():
            _check_finite(name, tensor)
        calibration, confidence = tensors["calibration"], tensors["sureness"]
        check_fits(calibration)
        check_confidence(confidence)
        state, negative = KINDS[kind].restore(tensors, dimensions), _negative(tensors)
        negatives = Negatives(kind, state, KINDS[kind].restore(negative, dimensions)) if negative else None
        identity, alpha = description_id_of(tensors), alpha_of(tensors)
        return cls(kind, state, calibration, confidence, identity, alpha, negatives)

    def fits(self, described: Tensor, noise: Tensor | None = None) -> Fits:
        """Return how well described clips (n, d) fit this task.

        Args:
            noise: the `noise_fits` (n,) of the same clips.
        """
        return fits_of(self.state, described, noise, self.negatives)

    def p_values(self, described: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the p-value (n,) of described clips (n, d): the share of the task's clips that fit it no better.

        Args:
            noise: the `noise_fits` (n,) of the same clips.
        """
        return p_values(self.calibration, self.fits(described, noise).values)


def description_id_of(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the identity of the descriptions that routing was learned from; empty for a release that had none."""
    identity = tensors.get("recipe")
    if identity is None or identity.dtype != torch.uint8 or identity.shape != (16,):
        return b""
    return bytes(identity.tolist())


def alpha_of(tensors: Mapping[str, Tensor]) -> float:
    """Return the p-value below which a clip is unknown to a task. Raises CorruptRegistryError for none that can be."""
    stored = tensors.get(_ALPHA)
    if stored is None:
        return ALPHA
    if stored.dtype != torch.uint8 or stored.shape != (1,) or int(stored) > 100:
        raise CorruptRegistryError("the limit of the task is no number of hundredths from 0 to 100")
    return int(stored) / 100


def _negative(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the state of a task's negatives; none where it has no negatives."""
    return {name.removeprefix(_NEGATIVE): t for name, t in tensors.items() if name.startswith(_NEGATIVE)}


def kind_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the kind of router that a task's tensors are for. Raises CorruptRegistryError if there is none."""
    own = {name for name in tensors if name != _ALPHA and not name.startswith(_NEGATIVE)}
    negative = set(_negative(tensors))
    found = [
        name
        for name, kind in KINDS.items()
        if kind.names() | _COMMON == own and (not negative or negative == kind.names())
    ]
    if not found:
        raise CorruptRegistryError(
            "the routing of the task is of no kind that this cl-ast knows; rebuild it with `cl-ast route`"
        )
    return found[0]


def has_routing(data: bytes) -> bool:
    """Return whether an adapter file has routing, of which nothing is read but the names."""
    return any(name.startswith(PREFIX) for name in header.read(data).entries)


_TYPES = {"F32": torch.float32, "F16": torch.float16, "I16": torch.int16, "U8": torch.uint8}


def routing_in(data: bytes) -> dict[str, Tensor]:
    """Return only the routing tensors of an adapter file, which takes microseconds since no model is loaded.

    Raises:
        CorruptRegistryError: they have values that are not numbers, or a type that routing never has.
    """
    file = header.read(data)
    found = {}
    for name, entry in file.entries.items():
        if not name.startswith(PREFIX):
            continue
        if entry["dtype"] not in _TYPES:
            raise CorruptRegistryError(f"the file has {name} in {entry['dtype']}, which no routing has")
        tensor = torch.frombuffer(bytearray(file.tensor_bytes(name)), dtype=_TYPES[entry["dtype"]]).reshape(
            entry["shape"]
        )
        _check_finite(name, tensor)
        found[name.removeprefix(PREFIX)] = tensor
    return found


def alpha_in(data: bytes) -> float:
    """Return the p-value below which a clip is unknown, as an adapter file has it; the usual one where it has none."""
    try:
        return alpha_of(routing_in(data))
    except CorruptRegistryError:
        return ALPHA


def _check_finite(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise CorruptRegistryError(f"the file has values that are not numbers in {name}")
