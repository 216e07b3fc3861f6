"""Writes a task as a folder, and reads such a folder.

    adapter_model.safetensors   LoRA: with peft's tensor names. Any other method: the task's file of the registry
    adapter_config.json         peft's; for a method that peft does not have, `peft_type` is "CL_AST"
    task.safetensors            LoRA only: head and routing, and in its header the description of the task
    shared_part.safetensors     where the method reads a shared part: its file of the registry, as it is
    README.md                   the model card

A folder to import may come from anybody. Files are read up to a size limit, as JSON and safetensors only, and every
claim in a header is checked against the file before torch reads it. Whether the task fits the backbone, and what a
LoRA of peft computes on it, is found later (`accept`).
"""

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import parse
from cl_ast.backbone.pretrained import SHORT_NAMES
from cl_ast.errors import CorruptRegistryError, MethodError, RegistryError
from cl_ast.router.task_routing import PREFIX
from cl_ast.sharing import peft, peft_adalora
from cl_ast.sharing.card import card
from cl_ast.sharing.peft_import import Foreign
from cl_ast.sharing.public_facts import public
from cl_ast.tasks.number_formats import all_decoded
from registry import header
from registry.adapter_files import digest
from registry.errors import file_errors
from registry.file_stores import sync_folder

ADAPTER, CONFIG, TASK, README = "adapter_model.safetensors", "adapter_config.json", "task.safetensors", "README.md"
SHARED = "shared_part.safetensors"
TYPE = "CL_AST"
LARGEST = 4 * 2**30  # bytes; a copy of the largest AST is a tenth of this
_LARGEST_CONFIG = 2**20
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


@dataclass(frozen=True, slots=True)
class Incoming:
    """A task read from a folder, which has not been checked against a backbone yet.

    Attributes:
        facts: the description of the task.
        tensors: its tensors by their names in a task's file.
        lora: the LoRA beside them, if peft's files hold it.
        shared: the file of the shared part that the task reads, if it reads one.
    """

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    lora: Foreign | None = None
    shared: bytes | None = None

    def to_bytes(self) -> bytes:
        """Return the task's file."""
        return _safetensors(self.tensors, self.facts)


def write(
    folder: Path,
    data: bytes,
    *,
    auto: float | None,
    methods: Mapping[str, Method] = METHODS,
    shared: bytes | None = None,
) -> Path:
    """Write a task as a folder, completely or not at all.

    Args:
        data: the task's file from the registry.
        auto: its test accuracy with the task chosen by the router, for the card.
        methods: the table of methods that has its method.
        shared: the file of the shared part that the task reads.

    Raises:
        RegistryError: the folder is not empty, or cannot be written.
    """
    files = _files(data, auto, methods) | ({} if shared is None else {SHARED: shared})
    with file_errors(folder, "export to"):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RegistryError(f"{folder} is not empty: export to a folder that is new or empty")
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.tmp"
        fresh.mkdir()
        try:
            for name, content in files.items():
                with (fresh / name).open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            sync_folder(fresh)
            if folder.exists():
                folder.rmdir()
            fresh.replace(folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        sync_folder(folder.parent)
    return folder


def read(folder: Path) -> Incoming:
    """Read a folder, and check that its files agree with what they say.

    Raises:
        CorruptRegistryError: a file is damaged, contradicts itself, or is too large.
        RegistryError: it is not the folder of a task, or it lacks the head.
        MethodError: it is of a kind that cl-ast does not have, or a LoRA with such a setting.
    """
    with file_errors(folder, "import"):
        if not folder.is_dir():
            raise RegistryError(f"{folder} is no folder: use one that `cl-ast export` or peft wrote")
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _PICKLES)
    if pickles and not (folder / ADAPTER).exists():
        raise RegistryError(
            f"{folder} holds its weights as {pickles[0]}, a pickle, which can run code when it is read: "
            f"save it as {ADAPTER}"
        )
    config = _config(folder / CONFIG)
    kind = config.get("peft_type")
    if kind == TYPE:
        facts, tensors = _load(folder / ADAPTER)
        return Incoming(_described(facts, ADAPTER), tensors, shared=_shared(folder, facts.get("shared")))
    if kind in (peft.TYPE, peft_adalora.TYPE):
        return _read_lora(folder, config)
    known = f"{peft.TYPE}, {peft_adalora.TYPE} and {TYPE}"
    raise MethodError(f"{folder / CONFIG}: peft_type {str(kind)[:40]!r} cannot be imported; {known} can")


def _files(data: bytes, auto: float | None, methods: Mapping[str, Method]) -> dict[str, bytes]:
    from safetensors.torch import load

    facts, tensors = header.read(data).description(), load(data)
    # Which clip was in which split concerns nobody who does not have the clips.
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("split.")}
    facts = public(facts)
    backbone = SHORT_NAMES.get(facts["backbone"]["name"], facts["backbone"]["name"])
    spec = parse(facts["method"], methods, stored=True)
    facts = {**facts, "method": spec.text}  # which means the same to every release from this one on
    layout = peft.layout_of(peft.family_in(facts))
    fits = peft.fits(spec, layout)
    if fits:
        routing = {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
        own = {name: tensor for name, tensor in tensors.items() if name not in routing}
        # Users of peft expect single precision, so the numbers are decoded; those of routing keep their types.
        theirs, ours = peft.to_peft(all_decoded(own, {}, str(facts["name"]))[0] | routing, layout)
        files = {ADAPTER: _safetensors(theirs, None), TASK: _safetensors(ours, facts)}
        layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
        norm = "head.norm.weight" in tensors
        config = peft.config(spec, layout, backbone if "/" in backbone else None, layers, norm=norm)
    else:
        files = {ADAPTER: _safetensors(tensors, facts)}
        config = {
            "peft_type": TYPE,
            "base_model_name_or_path": backbone if "/" in backbone else None,
            "method": spec.text,
        }
    size = sum(map(len, files.values()))
    files[CONFIG] = (json.dumps(config, indent=2) + "\n").encode()
    files[README] = card(facts, peft=fits, size=size, auto=auto).encode()
    return files


def _shared(folder: Path, sha256: object) -> bytes | None:
    """Return the file of the shared part that a task reads. Raises CorruptRegistryError where it is another file."""
    if sha256 is None:
        return None
    data = _bounded(folder / SHARED, LARGEST)
    if digest(data) != sha256:
        raise CorruptRegistryError(f"{folder / SHARED} is not the shared part that the task reads: export it again")
    return data


def _read_lora(folder: Path, config: Mapping[str, Any]) -> Incoming:
    if not (folder / TASK).exists():
        raise RegistryError(
            f"{folder} is a LoRA without a head: put {TASK} beside it, with head.weight, head.bias and a description "
            "of the task (docs/registry.md says how), or learn the task here"
        )
    description, ours = _load(folder / TASK)
    tensors = _load(folder / ADAPTER)[1]
    if config.get("peft_type") == peft_adalora.TYPE:
        config, tensors = peft_adalora.as_lora(config, tensors)
    lora = Foreign(config, tensors, peft.layout_of(peft.family_in(description)))
    facts = {"pooling": "mean", "positions": "resize", **_described(description, TASK)}
    # bf16 is no format of a task's file; single precision holds the same numbers.
    heads = {name: tensor.float() for name, tensor in ours.items() if _is_bf16_head(name, tensor)}
    return Incoming(facts, {**ours, **heads}, lora)


def _is_bf16_head(name: str, tensor: Tensor) -> bool:
    return name.startswith("head.") and tensor.dtype == torch.bfloat16


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(_bounded(path, _LARGEST_CONFIG))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise CorruptRegistryError(f"{path} is not a JSON object")
    return config


def _load(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description in a safetensors file, which may be empty, and its tensors."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = _bounded(path, LARGEST)
    try:
        return header.check(data).description(required=False), load(data)
    except CorruptRegistryError as error:
        raise CorruptRegistryError(f"{path} {error}") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise CorruptRegistryError(f"{path} is not a safetensors file: {error}") from error


def _bounded(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes."""
    with file_errors(path, "read"):
        if not path.is_file():  # reading a pipe or a device might never end
            raise RegistryError(f"{path} is missing: an adapter's folder has {CONFIG} and {ADAPTER}")
        with path.open("rb") as file:
            data = file.read(most + 1) if path.stat().st_size <= most else None
    if data is None or len(data) > most:
        raise CorruptRegistryError(f"{path} is larger than the {most:,} bytes that such a file may have")
    return data


def _described(description: dict[str, Any], name: str) -> dict[str, Any]:
    if not description:
        raise CorruptRegistryError(f"{name} has no description of the task: its header lacks the entry `cl_ast`")
    return description


def _safetensors(tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None) -> bytes:
    from safetensors.torch import save

    metadata = {"format": "pt"}
    if facts is not None:
        metadata[header.KEY] = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata))
