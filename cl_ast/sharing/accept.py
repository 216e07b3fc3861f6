"""From what a folder claims to a task that fits this backbone, or a sentence that says why not."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.pretrained import AST_BASE_HUB, MINI, SHORT_NAMES
from cl_ast.errors import AudioError, CorruptRegistryError
from cl_ast.router import TaskRouting
from cl_ast.router.space import description_id, dimensions_of
from cl_ast.router.task_routing import description_id_of
from cl_ast.sharing.folder import Incoming
from cl_ast.tasks.source import as_imported
from cl_ast.tasks.task_file import StoredTask, from_bytes
from cl_ast.tasks.task_model import head_norm
from registry import NewVersion, names
from registry.manifest import Manifest


def known_backbone(incoming: Incoming) -> str | None:
    """The backbone a folder asks for, if it is one of ours: a stranger's folder must not choose what is fetched."""
    backbone = incoming.facts.get("backbone")
    name = backbone.get("name") if isinstance(backbone, Mapping) else None
    short = {AST_BASE_HUB: "ast-base"}.get(str(name), name)
    return short if short == MINI or short in SHORT_NAMES else None


def accept(
    incoming: Incoming, backbone: Backbone, name: str | None, methods: Mapping[str, Method] = METHODS
) -> tuple[StoredTask, NewVersion]:
    """The task on this backbone, and what the registry will say of it.

    Raises:
        CorruptRegistryError: it does not fit the backbone, its labels or itself, or holds what are not numbers.
        RegistryError: its name cannot be one.
        MethodError: its method does not exist, or has other tensors.
    """
    facts = _completed(incoming.facts, backbone, name, methods)
    new = Manifest.from_header(facts, datetime.now(UTC)).new  # typed and within bounds, labels included
    own = {name: tensor.cpu() for name, tensor in head_norm(backbone).items()}
    try:
        task = from_bytes(Incoming(facts, {**own, **incoming.tensors}).to_bytes(), backbone, methods)
    except (AudioError, TypeError) as error:
        raise CorruptRegistryError(f"the front end of the task to import cannot be used: {error}") from error
    if description_id_of(task.router) == description_id(backbone):
        TaskRouting.from_tensors(task.router, dimensions_of(backbone.shape))
    settings = task.model.settings
    return task, replace(
        new,
        method=settings.method.text,
        trainable_parameters=task.model.trainable_parameters(),
        source=as_imported(new.source),
    )


def _completed(
    facts: Mapping[str, Any], backbone: Backbone, name: str | None, methods: Mapping[str, Method]
) -> dict[str, Any]:
    """With what a description made by hand may leave out: the backbone's facts, the front end's usual numbers."""
    front_end, said = facts.get("front_end"), facts.get("backbone") or {}
    if not isinstance(front_end, Mapping) or not isinstance(said, Mapping):
        raise CorruptRegistryError("the task to import does not say how a clip is heard: its front_end is missing")
    heard = _waveform(front_end, backbone) if "kind" in front_end else _log_mel(front_end)
    described = {
        "name": backbone.name,
        "fingerprint": backbone.fingerprint,
        "parameters": backbone.parameters,
        "bytes": backbone.bytes,
    }
    return {
        **facts,
        "name": names.checked(name if name is not None else facts.get("name", "")),
        "method": parse(str(facts.get("method", ""))[:1_000], methods).text,
        "front_end": heard,
        "pooling": _word(facts, "pooling"),
        "positions": _word(facts, "positions"),
        "backbone": {**described, **said},
    }


def _waveform(front_end: Mapping[str, Any], backbone: Backbone) -> dict[str, Any]:
    usual = asdict(backbone.front_end(1.0))
    found = {key: front_end.get(key, usual.get(key)) for key in ("kind", "samples", "normalise")}
    if found["kind"] != "waveform" or type(found["samples"]) is not int or type(found["normalise"]) is not bool:
        raise CorruptRegistryError("the front_end of the task to import is none that this cl-ast knows")
    return found


def _log_mel(front_end: Mapping[str, Any]) -> dict[str, Any]:
    frames, mean, std = (front_end.get(key, usual) for key, usual in (("frames", 0), ("mean", None), ("std", None)))
    usual = LogMelFrontEnd(frames) if type(frames) is int and frames else None
    numbers = [usual.mean if mean is None else mean, usual.std if std is None else std] if usual else []
    if usual is None or not all(isinstance(n, int | float) and math.isfinite(n) and abs(n) < 1e6 for n in numbers):
        raise CorruptRegistryError("the front_end of the task to import has numbers that cannot be")
    if numbers[1] <= 0:
        raise CorruptRegistryError("the front_end of the task to import divides by a spread that is not positive")
    return {"frames": frames, "mean": float(numbers[0]), "std": float(numbers[1])}


def _word(facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key)
    if not isinstance(value, str) or len(value) > 40:
        raise CorruptRegistryError(f"the task to import does not say its {key} in a word")
    return value
