"""Writes and reads the file of a task: a safetensors file with everything that is needed to classify with the task."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cl_ast.adapters.adapter import NONE, Adapter, check_shapes
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import parse
from cl_ast.adapters.stored_tensors import from_stored, to_stored
from cl_ast.audio import front_ends
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import AudioError, CorruptRegistryError, MethodError, NotFiniteError
from cl_ast.tasks.kind_names import CLASSES, KEY, recorded
from cl_ast.tasks.number_formats import all_decoded, encoded, fixed_types
from cl_ast.tasks.task_model import OWN_BACKBONE, THRESHOLD, TaskModel, TaskSettings, check_temperature, own_tensors
from cl_ast.tasks.thresholds import thresholds_in
from registry import header


@dataclass(frozen=True, slots=True)
class StoredTask:
    """The contents of a task's file.

    Attributes:
        model: the task's model.
        router: the tensors of the task's routing, by their names without "router."; none if it has no routing.
        header: the description of the task in the file's header.
    """

    model: TaskModel
    router: Mapping[str, Tensor]
    header: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """The size of its tensors in memory, in bytes. On a GPU a copy of the adapter in bf16 comes on top."""
        own = [*self.model.adapter.acting.flat().values(), *self.model.head.values(), *self.router.values()]
        backbone = self.model.backbone.bytes if self.model.settings.method.trains == "backbone" else 0
        return backbone + sum(tensor.numel() * tensor.element_size() for tensor in own)


_ROUTER, _SPLIT = "router.", "split."  # how the names of tensors begin that are not the model's


def to_bytes(
    model: TaskModel,
    backbone: Backbone,
    extra: Mapping[str, Any],
    router: Mapping[str, Tensor],
    split: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> bytes:
    """Return the file of a task, whose header describes it so that a lost row of the database can be rebuilt from it.

    Args:
        backbone: the registry's backbone, not the copy that full fine-tuning made.
        extra: further facts for the header, such as source, seed and version.
        router: the tensors of the task's routing.
        split: the clips of each split, as `streams.recorded_split.members_of` names them in four bytes.
    """
    from safetensors.torch import save

    description = {
        "format": header.FORMAT if model.settings.kind == CLASSES else header.TAGS_FORMAT,
        "name": model.settings.name,
        "family": backbone.family.kind,
        "method": model.settings.method.text,
        "labels": list(model.settings.labels),
        "front_end": asdict(model.settings.front_end),
        "pooling": model.settings.pooling,
        "positions": model.settings.positions,
        "temperature": model.settings.temperature,
        **recorded(model.settings.kind),
        "shared": model.settings.shared,
        "backbone": {
            "name": backbone.name,
            "fingerprint": backbone.fingerprint,
            "parameters": backbone.parameters,
            "bytes": backbone.bytes,
        },
        "trainable_parameters": model.trainable_parameters(),
        **extra,
    }
    state = to_stored(model.settings.method, model.backbone, model.state())
    for name, kind in model.stored.items():
        state |= encoded(name, state[name].detach(), kind)
    tensors = {
        **state,
        **{f"{_ROUTER}{name}": tensor for name, tensor in router.items()},
        **{f"{_SPLIT}{name}": _as_bytes(members) for name, members in split.items()},
    }
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # With sorted keys the same task gives the same bytes.
    return bytes(save(stored, metadata={header.KEY: json.dumps(description, sort_keys=True, ensure_ascii=False)}))


def split_in(data: bytes) -> dict[str, frozenset[int]]:
    """Return the clips of each split that a task's file records; nothing for a file of an older release.

    Raises:
        CorruptRegistryError: it is not such a file.
    """
    found = header.read(data)
    names = [name for name in found.entries if name.startswith(_SPLIT)]
    return {name.removeprefix(_SPLIT): _members(found, name) for name in names}


def seconds_in(data: bytes) -> float:
    """Return how many seconds of a clip the task of a file takes, from its header alone.

    Raises:
        CorruptRegistryError: it is not such a file.
    """
    try:
        return front_ends.from_dict(header.read(data).description()["front_end"]).seconds
    except (CorruptRegistryError, AudioError, KeyError, TypeError, ValueError) as error:
        raise _not_a_task(error) from None


def _not_a_task(error: Exception) -> CorruptRegistryError:
    return CorruptRegistryError(f"not an adapter file of cl-ast ({error}); export or train it again")


def _as_bytes(members: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.asarray(members, dtype="<u4").view(np.uint8))


def _members(found: header.Header, name: str) -> frozenset[int]:
    data = found.tensor_bytes(name)
    if found.entries[name]["dtype"] != "U8" or len(data) % 4:
        raise CorruptRegistryError(f"the file has {name} in a form that this release of cl-ast does not know")
    return frozenset(np.frombuffer(data, dtype="<u4").tolist())


Shared = Callable[[str], Mapping[str, Tensor]]
"""Returns the tensors of a shared part by its SHA-256."""


def no_shared(sha256: str) -> Mapping[str, Tensor]:
    """Raise MethodError: there is no shared part here."""
    raise MethodError(f"it reads the shared part {sha256[:12]}, which is not here")


def from_bytes(
    data: bytes, backbone: Backbone, methods: Mapping[str, Method] = METHODS, shared: Shared = no_shared
) -> StoredTask:
    """Read a task's file strictly: its backbone must be this one, and its tensors exactly those of its method.

    Args:
        methods: the table of methods that has its method.
        shared: called for the shared part that the task reads, if it reads one.

    Raises:
        CorruptRegistryError: it is not such a file, or was made for another backbone.
        NotFiniteError: it has values that are not numbers.
        MethodError: its tensors do not fit its method.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        described = header.read(data).description()
        settings = _settings(described, methods)
        fingerprint, backbone_name = described["backbone"]["fingerprint"], described["backbone"]["name"]
    except (SafetensorError, CorruptRegistryError, KeyError, TypeError, ValueError) as error:
        raise _not_a_task(error) from None
    if fingerprint != backbone.fingerprint:
        raise CorruptRegistryError(
            f"the adapter of {settings.name} was trained on the backbone {backbone_name} ({fingerprint[:12]}), "
            f"not on {backbone.name} ({backbone.fingerprint[:12]}); open it with its own backbone"
        )
    if not isinstance(settings.front_end, backbone.family.front_end_class):
        raise CorruptRegistryError(
            f"the adapter of {settings.name} takes clips in another form than {backbone.family.title} does; "
            "export or train it again"
        )
    _check_numbers(settings.name, tensors)
    router = _under(_ROUTER, tensors)
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith((_ROUTER, _SPLIT))}
    types = fixed_types(settings.method, backbone.shape)
    state, kinds = all_decoded(own, types, f"the adapter of {settings.name}")
    device = backbone.device
    read = NONE if settings.shared is None else shared(settings.shared)
    model = _restore(settings, backbone, {name: tensor.to(device) for name, tensor in state.items()}, read)
    model.stored = kinds
    return StoredTask(model, router, described)


def _check_numbers(task: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise NotFiniteError for values that are not numbers.

    All tensors are first checked together: checking one by one would take most of the time of loading.
    """
    floating = [tensor.reshape(-1) for tensor in tensors.values() if tensor.is_floating_point()]
    if not floating or torch.isfinite(torch.cat(floating)).all():
        return
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise NotFiniteError(f"the adapter of {task} has values that are not numbers in {name}")


def _settings(header: Mapping[str, Any], methods: Mapping[str, Method]) -> TaskSettings:
    return TaskSettings(
        name=str(header["name"]),
        method=parse(str(header["method"]), methods, stored=True),
        labels=tuple(map(str, header["labels"])),
        front_end=front_ends.from_dict(header["front_end"]),
        pooling=header["pooling"],
        positions=header["positions"],
        temperature=check_temperature(header.get("temperature", 1.0)),  # Releases before it had none.
        kind=str(header.get(KEY, CLASSES)),
        thresholds=_thresholds(header),
        shared=None if header.get("shared") is None else str(header["shared"]),
    )


def _thresholds(header: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the threshold of each tag that was tuned, and the usual one of others; none for a task of classes."""
    training = header.get("training")
    if header.get(KEY, CLASSES) == CLASSES or not isinstance(training, Mapping):
        return ()
    tuned = thresholds_in(training)
    return tuple(tuned.get(str(label), THRESHOLD) for label in header["labels"]) if tuned else ()


def _restore(
    settings: TaskSettings, backbone: Backbone, state: Mapping[str, Tensor], shared: Mapping[str, Tensor]
) -> TaskModel:
    backbone_tensors = _under(OWN_BACKBONE, state)
    head = {name: t for name, t in state.items() if name.startswith("head.")}
    rest = {name: t for name, t in state.items() if not name.startswith(("head.", OWN_BACKBONE))}
    if settings.method.trains == "backbone":
        # `trained`, so that it computes exactly (bit-identical) as it did in training.
        backbone = backbone.copy(trained=True)
        own = own_tensors(settings.method, backbone)
        shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
        check_shapes(shapes, backbone_tensors, f"the copy of the backbone of {settings.name}")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(backbone_tensors[name])
    elif backbone_tensors:
        raise MethodError(f"the adapter of {settings.name} holds backbone tensors that {settings.method} does not")
    adapter = Adapter(settings.method, backbone, from_stored(settings.method, backbone, rest), shared).pack()
    return TaskModel(settings, backbone, adapter, head)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
