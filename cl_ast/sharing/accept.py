"""Checks that a task to import fits this backbone, or says in a sentence why it does not."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.int8 import precision_of
from cl_ast.backbone.pretrained import AST_BASE_HUB, MINI, SHORT_NAMES
from cl_ast.errors import AudioError, CorruptRegistryError, MethodError, RegistryError
from cl_ast.escaping import escaped, refused_in_label
from cl_ast.progress import ClAstWarning
from cl_ast.router.task_routing import PREFIX
from cl_ast.sharing import base_model
from cl_ast.sharing.folder import CONFIG, TASK, Incoming
from cl_ast.sharing.peft import layout_of
from cl_ast.sharing.peft_import import agree
from cl_ast.tasks import shared_part
from cl_ast.tasks.kind_names import recorded
from cl_ast.tasks.length import KEY
from cl_ast.tasks.origin import as_imported
from cl_ast.tasks.task_file import StoredTask, from_bytes, no_shared
from cl_ast.tasks.task_model import check_temperature, head_norm
from cl_ast.wording import plural
from registry import NewVersion, names
from registry.manifest import Manifest


def known_backbone(incoming: Incoming) -> str | None:
    """Return the short name of the backbone that a folder names, or None if it has no short name here.

    A folder from a stranger must not choose what is downloaded, so other names are ignored.
    """
    backbone = incoming.facts.get("backbone")
    name = backbone.get("name") if isinstance(backbone, Mapping) else None
    if name is None and incoming.lora:
        name = incoming.lora.config.get("base_model_name_or_path")
    short = {AST_BASE_HUB: "ast-base"}.get(str(name), str(name))
    return short if short == MINI or short in SHORT_NAMES else None


def known_precision(incoming: Incoming) -> str | None:
    """Return what the weights of the backbone that a folder names are kept in; None if it does not say."""
    backbone = incoming.facts.get("backbone")
    fingerprint = backbone.get("fingerprint") if isinstance(backbone, Mapping) else None
    return precision_of(fingerprint) if isinstance(fingerprint, str) else None


def accept(
    incoming: Incoming, backbone: Backbone, name: str | None, methods: Mapping[str, Method] = METHODS
) -> tuple[StoredTask, NewVersion]:
    """Return the task on this backbone, and its facts for the registry; its routing is left out, and never read.

    Args:
        name: the name for the task; by default the one in the folder.
        methods: the table of methods.

    Warns:
        ClAstWarning: the task had labels with control or format characters, or its LoRA may be for another backbone.

    Raises:
        CorruptRegistryError: the task does not fit the backbone, contradicts itself, or has values that are no numbers.
        RegistryError: its name is not allowed.
        MethodError: its method does not exist, or has other tensors.
    """
    data = incoming.shared
    read = None if data is None else shared_part.from_bytes(data, backbone, methods)[1]
    incoming = _translated(_without_routing(incoming), backbone, methods)
    facts = _completed(incoming.facts, backbone, name, methods)
    new = Manifest.from_header(facts, datetime.now(UTC)).new  # this also checks types and bounds, labels included
    # A LoRA that peft trained may lack the head's LayerNorm, which is then the backbone's.
    norm = {name: tensor.cpu() for name, tensor in head_norm(backbone).items()}
    try:
        own = Incoming(facts, {**norm, **incoming.tensors}).to_bytes()
        task = from_bytes(own, backbone, methods, no_shared if read is None else lambda _: read)
    except (AudioError, TypeError) as error:
        raise CorruptRegistryError(f"the front end of the task to import cannot be used: {error}") from error
    settings = task.model.settings
    return task, replace(
        new,
        method=settings.method.text,
        trainable_parameters=task.model.trainable_parameters(),
        source=as_imported(new.source),
        training={**new.training, KEY: settings.front_end.seconds, **recorded(settings.kind)},
    )


def _without_routing(incoming: Incoming) -> Incoming:
    """Return the task without its routing and what is said of it: a stranger's could draw the clips of other tasks."""
    tensors = {name: tensor for name, tensor in incoming.tensors.items() if not name.startswith(PREFIX)}
    facts, training = dict(incoming.facts), incoming.facts.get("training")
    if isinstance(training, Mapping):
        facts["training"] = {key: value for key, value in training.items() if key != "routing"}
    return Incoming(facts, tensors, incoming.lora)


def _translated(incoming: Incoming, backbone: Backbone, methods: Mapping[str, Method]) -> Incoming:
    """Return the task with a LoRA of peft among its own tensors and in its method.

    Warns:
        ClAstWarning: the LoRA may be for another backbone.

    Raises:
        MethodError: the LoRA cannot be translated, is for another backbone, or is not that of the task.
        CorruptRegistryError: both files have a tensor.
    """
    lora = incoming.lora
    if lora is None:
        return incoming
    stated = incoming.facts.get("backbone")
    # A fingerprint says more than a name, and is compared with the backbone's in any case.
    if not isinstance(stated, Mapping) or "fingerprint" not in stated:
        base_model.check(lora.config, backbone.name)
    method, tensors = lora.translated(backbone.shape.depth)
    own = parse(method, methods)
    _check_reached(own, backbone)
    written = str(incoming.facts.get("method", method))[:1_000]
    if not agree(parse(written, methods, stored=True), own):
        raise MethodError(
            f"the method is {written[:200]!r} in {TASK} and {method[:200]} in {CONFIG}: one of the two files is of "
            "another task; export it again"
        )
    twice = sorted(set(tensors) & set(incoming.tensors))
    if twice:
        raise CorruptRegistryError(f"both files have the tensor {twice[0]}; remove it from one of them")
    return Incoming({**incoming.facts, "method": written}, {**tensors, **incoming.tensors})


def _check_reached(spec: MethodSpec, backbone: Backbone) -> None:
    """Raise MethodError for a LoRA of peft where it had no effect, since the stock model passes it by."""
    layout = layout_of(backbone.family)
    passed_by = sorted({one.site for one in spec.placements} - set(layout.reached))
    if passed_by:
        raise MethodError(
            f"the LoRA is at {', '.join(passed_by)}, and the attention of {layout.model} reads its weights past "
            "any LoRA of peft, so it never acted there; train it at intermediate_dense and output_dense"
        )


def _completed(
    facts: Mapping[str, Any], backbone: Backbone, name: str | None, methods: Mapping[str, Method]
) -> dict[str, Any]:
    """Return the facts with what a handwritten description may leave out: the backbone's facts, and default values."""
    front_end, stated = facts.get("front_end"), facts.get("backbone") or {}
    if not isinstance(front_end, Mapping) or not isinstance(stated, Mapping):
        raise CorruptRegistryError(
            "the description of the task to import lacks its front_end, or its backbone is no JSON object; "
            "export the task again"
        )
    described = {
        "name": backbone.name,
        "fingerprint": backbone.fingerprint,
        "parameters": backbone.parameters,
        "bytes": backbone.bytes,
    }
    return {
        **facts,
        "name": _named(facts, name),
        "labels": _labels(facts.get("labels")),
        "method": parse(str(facts.get("method", ""))[:1_000], methods, stored=True).text,
        "front_end": _waveform(front_end, backbone) if "kind" in front_end else _log_mel(front_end, backbone),
        "pooling": _word(facts, "pooling"),
        "positions": _word(facts, "positions"),
        "temperature": _temperature(facts.get("temperature")),
        "backbone": {**described, **stated},
    }


def _named(facts: Mapping[str, Any], name: str | None) -> str:
    """Return the name for the task: the one that was given, or its own."""
    try:
        return names.checked(facts.get("name", "") if name is None else name)
    except RegistryError as error:
        if name is not None:
            raise
        raise RegistryError(f"{error} with --name") from None


def _labels(labels: Any) -> Any:
    """Return the labels with every control and format character as a visible escape, as a new label has to be.

    Warns:
        ClAstWarning: some had such characters.
    """
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return labels  # which is refused with the other facts
    changed = [label for label in labels if refused_in_label(label)]
    if changed:
        count = f"{plural(len(changed), 'label')} had"
        shown = ", ".join(escaped(label)[:80] for label in changed[:3]) + (", …" if len(changed) > 3 else "")
        message = f"{count} control or format characters, which are escaped from now on: {shown}"
        warnings.warn(message, ClAstWarning, stacklevel=2)
    return list(map(escaped, labels)) if changed else labels  # all of them, so that no two become the same


def _waveform(front_end: Mapping[str, Any], backbone: Backbone) -> dict[str, Any]:
    default = asdict(backbone.front_end(1.0))
    found = {key: front_end.get(key, default.get(key)) for key in ("kind", "samples", "normalise")}
    if found["kind"] != "waveform" or type(found["samples"]) is not int or type(found["normalise"]) is not bool:
        raise CorruptRegistryError("the front_end of the task to import is none that this cl-ast knows")
    return found


def _log_mel(front_end: Mapping[str, Any], backbone: Backbone) -> dict[str, Any]:
    frames, mean, std = (front_end.get(key) for key in ("frames", "mean", "std"))
    own = backbone.front_end(1.0)
    default = own if isinstance(own, LogMelFrontEnd) else LogMelFrontEnd.for_seconds(1.0)
    numbers = [default.mean if mean is None else mean, default.std if std is None else std]
    if (
        type(frames) is not int
        or not frames
        or not all(isinstance(n, int | float) and math.isfinite(n) and abs(n) < 1e6 for n in numbers)
    ):
        raise CorruptRegistryError("the front_end of the task to import has numbers that cannot be used")
    if numbers[1] <= 0:
        raise CorruptRegistryError("the front_end of the task to import has a std that is not positive")
    return {"frames": frames, "mean": float(numbers[0]), "std": float(numbers[1])}


def _temperature(value: Any) -> float:
    try:
        return 1.0 if value is None else check_temperature(value)
    except ValueError as error:
        raise CorruptRegistryError(f"the task to import has a temperature that cannot be used: {error}") from None


def _word(facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key)
    if not isinstance(value, str) or len(value) > 40:
        raise CorruptRegistryError(f"the description of the task to import has no valid {key}, which is one word")
    return value
