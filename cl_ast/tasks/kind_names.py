"""Which kind of labels a version of a task has, and what it is measured by. Imports no torch; see `label_kinds`."""

from typing import Any

from registry.version_facts import VersionFacts

CLASSES, TAGS = "classes", "tags"
KEY = "label_kind"
"""Where a task's file and a training record say "tags"; a task of classes has no such entry, as in older releases."""

ACCURACY, MAP = "accuracy", "mAP"


def is_tags(version: VersionFacts) -> bool:
    """Return whether a version's labels are tags."""
    return version.training.get(KEY) == TAGS


def metric_of(version: VersionFacts) -> str:
    """Return the name of what a version is measured by."""
    return MAP if is_tags(version) else ACCURACY


def recorded(kind: str) -> dict[str, Any]:
    """Return the entry of a training record for a kind of labels."""
    return {KEY: kind} if kind != CLASSES else {}
