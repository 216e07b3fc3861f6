"""Chooses what an export says of its task: what others need, and nothing of a person, a folder or a machine.

Only what is listed here is exported, in a form that leaves no room for anything else. The files of the registry say
more, because the split has to be found again there: where the data lie, and a hash of each clip's name.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cl_ast.backbone.pretrained import MINI, SHORT_NAMES
from cl_ast.environment import PACKAGES
from cl_ast.tasks import kind_names
from cl_ast.tasks.origin import original
from cl_ast.training.options import TrainOptions
from streams import DATASETS
from streams.protocol import is_public, without_names

# What the product is: it is exported as it is.
_AS_THEY_ARE = (
    "format",
    "name",
    "family",
    "method",
    "labels",
    "front_end",
    "pooling",
    "positions",
    kind_names.KEY,
    "trainable_parameters",
)
_NUMBERS = ("seed", "seconds", "learned_accuracy", "temperature")
_SOURCE_NUMBERS = ("few_shot", "max_seconds", "seed")
_TRAINING = (
    *(one.name for one in fields(TrainOptions)),
    "pooling",
    "positions",
    "store",
    "device",
    "best_epoch",
    "stopped",
    "temperature",
    kind_names.KEY,
)
_MEASURED = ("validation_accuracy", "validation_loss")
_ABOUT_CLIPS = ("train_clips", "validation_clips", "test_clips")
_POINT = ("epoch", "loss", "accuracy", *_MEASURED)  # of a learning curve
_WORD = re.compile(r"[a-z0-9_.:,+-]{1,64}")
_VERSION = re.compile(r"\d[0-9A-Za-z.+-]{0,39}")
_HASH = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9T:.+-]{10,40}")
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def public(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a task as it is exported.

    Args:
        facts: the description in the task's file, which an older release or somebody else may have written.
    """
    found = {key: facts[key] for key in _AS_THEY_ARE if key in facts}
    found |= {key: facts[key] for key in _NUMBERS if _is_number(facts.get(key))}
    for key, form in (("created", _TIME), ("data_fingerprint", _HASH), ("shared", _HASH)):
        found |= {key: facts[key]} if _matches(form, facts.get(key)) else {}
    packages = _object(facts.get("packages"))
    return {
        **found,
        "backbone": _backbone(facts["backbone"]),
        "packages": {name: packages[name] for name in PACKAGES if _matches(_VERSION, packages.get(name))},
        "protocol": without_names(str(facts.get("protocol") or "")),
        "source": _source(original(_object(facts.get("source")))),
        "training": _training(_object(facts.get("training"))),
    }


def _backbone(backbone: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: backbone[key] for key in ("fingerprint", "parameters", "bytes")}
    return {**found, "name": backbone_name(backbone["name"])}


def backbone_name(backbone: str) -> str:
    """Return a backbone's name if it is one on the hub or a short one, and "local-backbone" for a folder."""
    if backbone == MINI or backbone in SHORT_NAMES:
        return backbone
    # transformers takes a folder of that name first, and so does this.
    return backbone if _HUB_NAME.fullmatch(backbone) and not Path(backbone).exists() else "local-backbone"


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the task's data was loaded, without where it lies."""
    found = {key: source[key] for key in _SOURCE_NUMBERS if _is_number(source.get(key))}
    found |= {"task": source["task"]} if source.get("task") in DATASETS else {}
    found |= {"fold": source["fold"]} if is_public(str(source.get("fold"))) else {}
    return found | ({"split_by": source["split_by"]} if _matches(_WORD, source.get("split_by")) else {})


def _training(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a training; every value of it is a number or one plain word."""
    found = {
        key: record[key] for key in (*_TRAINING, *_MEASURED, *_ABOUT_CLIPS) if key in record and _is_plain(record[key])
    }
    curve, routing = record.get("curve"), _object(record.get("routing"))
    if isinstance(curve, list):
        points = [one for one in curve if isinstance(one, Mapping)]
        found["curve"] = [{key: one[key] for key in _POINT if key in one and _is_plain(one[key])} for one in points]
    if routing:
        found["routing"] = {key: routing[key] for key in ("router", "descriptions") if _is_plain(routing.get(key))}
    return found


def _is_plain(value: object) -> bool:
    return value is None or _is_number(value) or isinstance(value, bool) or _matches(_WORD, value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
