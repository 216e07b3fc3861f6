"""Compares the model that a LoRA of peft says it is for with the registry's backbone.

`base_model_name_or_path` is a name on the hub, or a folder of the machine that the LoRA was trained on. Two names on
the hub are two models. A folder is only a hint, because the same model may lie in any folder.
"""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cl_ast.backbone.pretrained import MINI, SHORT_NAMES
from cl_ast.errors import MethodError
from cl_ast.progress import ClAstWarning

_HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_CACHED = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]")  # the hub's own cache on a disk


def hub_name(name: str) -> str | None:
    """Return the name on the hub that a name or a path of the hub's cache stands for; None for any other folder."""
    cached = _CACHED.search(name)
    if cached:
        return f"{cached[1]}/{cached[2]}"
    name = SHORT_NAMES.get(name, name)
    return name if _HUB.fullmatch(name) and not Path(name).is_dir() else None


def check(config: Mapping[str, Any], backbone: str) -> None:
    """Compare a LoRA's base model with the backbone of this name.

    Warns:
        ClAstWarning: it may be another model.

    Raises:
        MethodError: it is another model.
    """
    stated = config.get("base_model_name_or_path")
    if not stated:
        return
    if not isinstance(stated, str):
        raise MethodError("the LoRA's base_model_name_or_path in adapter_config.json is no text")
    theirs, ours = hub_name(stated), hub_name(backbone)
    revision = config.get("revision")
    named = f"the LoRA is for {stated[:200]!r} (base_model_name_or_path in adapter_config.json)"
    if stated == backbone or (theirs and theirs == ours):
        if revision and revision != "main":
            _warn(f"{named} at the revision {str(revision)[:80]!r}; check that the backbone is that one")
    elif _last(stated) == _last(backbone):
        if theirs and ours:
            _warn(f"{named}, and the registry's backbone is {backbone}; check that they are the same model")
    elif theirs and (ours or backbone == MINI):
        raise MethodError(
            f"{named}, and the registry's backbone is {backbone}: use a registry of that backbone, or take the entry "
            "out if they are the same model"
        )
    else:
        _warn(
            f"{named}, and the registry's backbone is {backbone}; if they are not the same model, the task's answers "
            "are worthless"
        )


def _last(name: str) -> str:
    """Return the last part of a name or path, of this or another system."""
    return re.split(r"[/\\]+", (hub_name(name) or name).rstrip("/\\"))[-1].lower()


def _warn(message: str) -> None:
    warnings.warn(message, ClAstWarning, stacklevel=2)
