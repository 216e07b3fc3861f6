"""Shows the thresholds of a task's classes, as `cl-ast tune` found or stored them."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType

from cl_ast.tasks.thresholds import Windows
from cl_ast.terminal.rendering.layout import bare, line, more

_MOST_CLASSES = 60


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one flat record for each class."""
    return [{"label": label, **one} for label, one in found["labels"].items()]


def table(found: Mapping[str, Any]) -> RenderableType:
    """Return a row for each class: its threshold, what it still finds, and what it takes wrongly."""
    shown = bare("class", "begins at", "clips found", "other clips", "background events")
    listed = rows(found)
    for one in listed[:_MOST_CLASSES]:
        clips = f"{one['found']} of {one['clips']}"
        shown.add_row(one["label"], f"{one['on']:.2f}", clips, str(one["wrong"]), str(one["false_alarms"]))
    if len(listed) > _MOST_CLASSES:
        shown.add_row(more(len(listed) - _MOST_CLASSES, "csv"))
    legend = "clips are those of validation; other clips are of another class and were taken for this one"
    windows = Windows(found["window"], found["hop"], found["timeline"]).in_words()
    background = f"{found['hours']:.2f} h of background in {found['background']}, {windows}"
    return Group(shown, "", line(legend, "dim"), line(background))
