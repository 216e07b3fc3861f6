"""A task as a folder, out and in.

    adapter_model.safetensors   LoRA: as peft names it. Any other method: the whole task, as the registry stores it
    adapter_config.json         peft's; for what peft does not know, `peft_type` is "CL_AST"
    task.safetensors            LoRA only: head, routing, and in its header what the task is
    README.md                   the model card

A folder to import may come from anybody: files are read with a limit, as JSON and safetensors only, each claim checked
against the file, before torch sees a byte. What this module returns still has to fit the backbone: `from_bytes` says.
"""

import json
import math
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.backbone.pretrained import MINI, SHORT_NAMES
from cl_ast.errors import CorruptRegistryError, MethodError, RegistryError
from cl_ast.sharing import peft
from cl_ast.sharing.card import card
from cl_ast.tasks.number_formats import all_decoded
from cl_ast.tasks.source import original
from registry import header
from registry.errors import file_errors
from registry.file_stores import sync_folder

ADAPTER, CONFIG, TASK, README = "adapter_model.safetensors", "adapter_config.json", "task.safetensors", "README.md"
TYPE = "CL_AST"
LARGEST = 4 * 2**30  # bytes: a copy of the largest AST is a tenth of it
_LARGEST_CONFIG = 2**20
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
# What only its registry needs to know, or nobody else's business: where the data lies on this machine.
_PRIVATE = {"task_id", "task_created", "version"}
_SOURCE = ("task", "fold", "few_shot", "max_seconds", "seed", "split_by")


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a folder holds, not yet checked against a backbone: what it says of itself, and tensors by our own names."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def to_bytes(self) -> bytes:
        """As the registry stores a task."""
        return _safetensors(self.tensors, self.facts)


def write(folder: Path, data: bytes, *, auto: float | None, methods: Mapping[str, Method] = METHODS) -> Path:
    """Write the task in `data`, a registry's file, as a folder: all of it or nothing.

    Args:
        auto: its accuracy by the router, for the card.
        methods: the table that its method is a row of.

    Raises:
        RegistryError: the folder holds something already, or cannot be written.
    """
    files = _files(data, auto, methods)
    with file_errors(folder, "export to"):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RegistryError(f"{folder} holds something already: export to a folder that is new or empty")
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


def read(folder: Path, methods: Mapping[str, Method] = METHODS) -> Incoming:
    """What a folder holds, each claim checked against its files.

    Args:
        methods: the table that its method is a row of.

    Raises:
        CorruptRegistryError: a file is damaged, lies, or is too large.
        RegistryError: it is no such folder, or it lacks the head.
        MethodError: its method is not one of ours.
    """
    with file_errors(folder, "import"):
        if not folder.is_dir():
            raise RegistryError(f"{folder} is no folder: name one that `cl-ast export` or peft wrote")
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
        return Incoming(_described(facts, ADAPTER), tensors)
    if kind == peft.TYPE:
        return _read_lora(folder, config, methods)
    raise MethodError(f"{folder / CONFIG}: peft_type {str(kind)[:40]!r} is neither {peft.TYPE} nor {TYPE}")


def _files(data: bytes, auto: float | None, methods: Mapping[str, Method]) -> dict[str, bytes]:
    from safetensors.torch import load

    facts, tensors = header.read(data).description(), load(data)
    facts = {key: value for key, value in facts.items() if key not in _PRIVATE}
    facts["source"] = _public(facts.get("source") or {})
    facts["backbone"] = {**facts["backbone"], "name": _public_name(facts["backbone"]["name"])}
    backbone = SHORT_NAMES.get(facts["backbone"]["name"], facts["backbone"]["name"])
    spec = parse(facts["method"], methods)
    if peft.fits(spec):
        layout = peft.layout_of(facts)
        routing = {name: tensor for name, tensor in tensors.items() if name.startswith("router.")}
        own = {name: tensor for name, tensor in tensors.items() if name not in routing}
        # In single precision, as its users expect: the same numbers. Routing has types of its own.
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
    files[README] = card(facts, peft=peft.fits(spec), size=size, auto=auto).encode()
    return files


def _read_lora(folder: Path, config: Mapping[str, Any], methods: Mapping[str, Method]) -> Incoming:
    if not (folder / TASK).exists():
        raise RegistryError(
            f"{folder} is a LoRA without a head: put {TASK} beside it, with head.weight, head.bias and what the task "
            "is (docs/registry.md says how), or learn the task here"
        )
    words, ours = _load(folder / TASK)
    layout = peft.layout_of(words)
    method, found = peft.from_peft(config, _load(folder / ADAPTER)[1], layout)
    facts = {"pooling": "mean", "positions": "resize", "method": method, **_described(words, TASK)}
    said = parse(str(facts["method"]), methods)
    if not peft.fits(said) or not _same_lora(said, config, layout):
        raise MethodError(
            f"{folder}: {TASK} says {said.text}, and {CONFIG} says {method}: one of them is of another task"
        )
    twice = sorted(set(found) & set(ours))
    if twice:
        raise CorruptRegistryError(f"{folder}: {twice[0]} is in both files: which of the two counts?")
    return Incoming(facts, {**found, **ours})


def _same_lora(spec: MethodSpec, config: Mapping[str, Any], layout: peft.Layout) -> bool:
    """Same rank and scale at every site; the sites themselves are checked by the tensors that are there."""
    pairs = [(form, *peft.size(config, path)) for path, form in peft.paths(spec, layout).items()]
    return all(form.rank == rank and math.isclose(form.scale, scale, rel_tol=1e-6) for form, rank, scale in pairs)


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(_bounded(path, _LARGEST_CONFIG))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise CorruptRegistryError(f"{path} is not a JSON object")
    return config


def _load(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a safetensors file says of itself (nothing, perhaps) and its tensors."""
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
    """The bytes of a plain file of a bearable size."""
    with file_errors(path, "read"):
        if not path.is_file():  # a pipe or a device would never end
            raise RegistryError(f"{path} is missing: an adapter's folder has {CONFIG} and {ADAPTER}")
        with path.open("rb") as file:
            data = file.read(most + 1) if path.stat().st_size <= most else None
    if data is None or len(data) > most:
        raise CorruptRegistryError(f"{path} is larger than the {most:,} bytes that such a file may have")
    return data


def _described(words: dict[str, Any], name: str) -> dict[str, Any]:
    if not words:
        raise CorruptRegistryError(f"{name} does not say what the task is: its header has no `cl_ast` entry")
    return words


def _safetensors(tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None) -> bytes:
    from safetensors.torch import save

    metadata = {"format": "pt"}
    if facts is not None:
        metadata[header.KEY] = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata))


def _public(source: Mapping[str, Any]) -> dict[str, Any]:
    """How the task was loaded, without where its data lay."""
    given = original(source)
    found = {key: given[key] for key in _SOURCE if given.get(key) is not None}
    if not str(found.get("task", "")).isidentifier():  # a data set's name, not a folder's
        found.pop("task", None)
    return found


def _public_name(backbone: str) -> str:
    """A hub name as it is; of a folder on this machine its last part."""
    return (
        backbone
        if backbone == MINI or (backbone.count("/") == 1 and not Path(backbone).is_absolute())
        else Path(backbone).name
    )
