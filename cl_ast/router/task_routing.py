"""What a task adds to the router, as its file holds it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_ast.errors import CorruptRegistryError
from cl_ast.router.calibration import LOWEST, p_values
from cl_ast.router.kinds import KINDS, State, fit_beside
from registry import header

_OWN = {"calibration", "sureness", "recipe"}
_PREFIX = "router."


@dataclass(frozen=True, slots=True)
class TaskRouting:
    """A task's state, its calibration, and under which descriptions they were learned.

    Attributes:
        kind: the router, one of `KINDS`.
        calibration: (101,) order statistics of the fits of clips that the state was not learned from.
        confidence: (101,) order statistics of how confident the task's head is of clips that it was not trained on.
        description_id: 16 bytes; `RouterSpace.description_id` of the descriptions.
    """

    kind: str
    state: State
    calibration: Tensor
    confidence: Tensor
    description_id: bytes

    def tensors(self) -> dict[str, Tensor]:
        # The names in a file are older than those of this class.
        recipe = torch.frombuffer(bytearray(self.description_id), dtype=torch.uint8)
        return {**self.state.tensors(), "calibration": self.calibration, "sureness": self.confidence, "recipe": recipe}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], dimensions: int) -> "TaskRouting":
        """Read it strictly; ask `description_id_of` before. Raises CorruptRegistryError for what cannot be one."""
        kind = kind_of(tensors)
        calibration, confidence = tensors["calibration"], tensors["sureness"]
        for one in (calibration, confidence):
            if one.dtype != torch.float32 or one.shape != (101,):
                raise CorruptRegistryError("the routing of the task has other shapes or types than this cl-ast's")
            if bool((one.diff() < 0).any()) or one[0] < LOWEST or one[-1] > 1.01:
                raise CorruptRegistryError("the routing of the task would draw the clips of other tasks to it")
        return cls(kind, KINDS[kind].restore(tensors, dimensions), calibration, confidence, description_id_of(tensors))

    def p_values(self, described: Tensor, noise: Tensor | None = None) -> Tensor:
        """Clips (n, d), and how well they fit noise (n,), to how often a clip of this task fits it no better (n,)."""
        return p_values(self.calibration, fit_beside(noise, self.state, described))


def description_id_of(tensors: Mapping[str, Tensor]) -> bytes:
    """Under which descriptions it was learned; empty for what a cl-ast before recipes wrote."""
    recipe = tensors.get("recipe")
    if recipe is None or recipe.dtype != torch.uint8 or recipe.shape != (16,):
        return b""
    return bytes(recipe.tolist())


def kind_of(tensors: Mapping[str, Tensor]) -> str:
    """Which router it is for. Raises CorruptRegistryError for tensors that are no router's."""
    found = [name for name, kind in KINDS.items() if kind.names() | _OWN == set(tensors)]
    if not found:
        raise CorruptRegistryError(
            "the routing of the task is not what this cl-ast knows; learn it with `cl-ast route`"
        )
    return found[0]


_TYPES = {"F32": torch.float32, "F16": torch.float16, "I16": torch.int16, "U8": torch.uint8}


def routing_in(data: bytes) -> dict[str, Tensor]:
    """The routing tensors of an adapter file, and nothing else of it: some microseconds instead of a model.

    Raises:
        CorruptRegistryError: they are not numbers, or of a type that no routing has.
    """
    file = header.read(data)
    found = {}
    for name, entry in file.entries.items():
        if not name.startswith(_PREFIX):
            continue
        if entry["dtype"] not in _TYPES:
            raise CorruptRegistryError(f"the file has {name} in {entry['dtype']}, which no routing has")
        tensor = torch.frombuffer(bytearray(file.tensor_bytes(name)), dtype=_TYPES[entry["dtype"]]).reshape(
            entry["shape"]
        )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CorruptRegistryError(f"the file has values that are not numbers in {name}")
        found[name.removeprefix(_PREFIX)] = tensor
    return found
