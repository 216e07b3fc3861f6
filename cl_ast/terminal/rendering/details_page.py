"""Shows what is behind a task's accuracy in 80 columns: long lists are cut, and say how to see the rest."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from cl_ast.evaluation.details import Details, Misrouted, Share, Wrong
from cl_ast.evaluation.shown_accuracy import counted, interval, right_of
from cl_ast.evaluation.tag_details import TagDetails
from cl_ast.excerpts import in_folder
from cl_ast.terminal.rendering.layout import Breakable, bare, line, more
from cl_ast.terminal.rendering.tables import percent

_MOST_CLASSES = 40
_MOST_PAIRS = 10
_MOST_CLIPS = 20


def summary(found: Details | TagDetails) -> RenderableType:
    """Return a line for the accuracy (or mAP) by name, and one for the routed one where that was measured."""
    if isinstance(found, TagDetails):
        return _tag_summary(found)
    lines = [f"{found.measured.task}: {_share(found.by_name)} with the task named"]
    if found.routed is not None:
        declined = f'; {found.measured.declined} answered "unknown"' if found.measured.declined else ""
        lines.append(f"  routed: {_share(found.routed)}{declined}")
    return Group(*map(line, lines))


def _tag_summary(found: TagDetails) -> RenderableType:
    one = found.measured
    lines = [
        f"{one.task}: mAP {percent(one.oracle)} % (chance {percent(found.chance)} %), lwlrap {percent(one.lwlrap)} % "
        f"over {one.clips} clips with the task named"
    ]
    if one.auto is not None:
        declined = f'; {one.declined} answered "unknown"' if one.declined else ""
        lines.append(f"  routed: mAP {percent(one.auto)} %{declined}")
    return Group(*map(line, lines))


def details(found: Details | TagDetails) -> RenderableType:
    """Return accuracy by class, confusions, wrong clips and misrouted clips; whatever is empty is left out.

    Of a task of tags there are average precisions in place of accuracies, and no confusions: each tag is on its own.
    """
    folder = _folder([one.clip.path for one in found.measured.outcomes])
    if isinstance(found, TagDetails):
        parts = [summary(found), _tags(found), *_misrouted(found.misrouted, found.measured.task, folder)]
        return Group(*(item for part in parts for item in (part, "")))
    parts = [summary(found), _classes(found), *_confusions(found)]
    parts += _wrong(found.wrong, folder) + _misrouted(found.misrouted, found.measured.task, folder)
    return Group(*(item for part in parts for item in (part, "")))


def _classes(found: Details) -> RenderableType:
    table = bare("class", "clips", "accuracy %", "95 % interval %")
    for label, one in list(found.classes.items())[:_MOST_CLASSES]:
        table.add_row(label, str(one.clips), counted(one.accuracy, one.clips), interval(one.right, one.clips))
    if len(found.classes) > _MOST_CLASSES:
        table.add_row(more(len(found.classes) - _MOST_CLASSES, "json"))
    return table


def _tags(found: TagDetails) -> RenderableType:
    table = bare("tag", "clips", "average\nprecision %", "chance %", "found", "wrongly\nfound")
    for label, one in list(found.classes.items())[:_MOST_CLASSES]:
        table.add_row(
            label,
            str(one.clips),
            percent(one.average_precision),
            percent(one.chance),
            f"{one.found} of {one.clips}",
            str(one.wrong),
        )
    if len(found.classes) > _MOST_CLASSES:
        table.add_row(more(len(found.classes) - _MOST_CLASSES, "json"))
    return table


def _confusions(found: Details) -> list[RenderableType]:
    if not found.confusions:
        return []
    table = bare("class", "taken for", "clips")
    for one in found.confusions[:_MOST_PAIRS]:
        table.add_row(one.label, one.predicted, str(one.clips))
    if len(found.confusions) > _MOST_PAIRS:
        table.add_row(more(len(found.confusions) - _MOST_PAIRS, "json"))
    return [table]


def _wrong(clips: Sequence[Wrong], folder: Path) -> list[RenderableType]:
    if not clips:
        return []
    table = bare("clip", "class", "answer", "probability")
    for one in clips[:_MOST_CLIPS]:
        table.add_row(Breakable(in_folder(one.place, folder)), one.label, one.predicted, f"{one.probability:.2f}")
    if len(clips) > _MOST_CLIPS:
        table.add_row(more(len(clips) - _MOST_CLIPS, "csv"))
    return [Group(line(f"wrong with the task named, in {folder}", "bold"), table)]


def _misrouted(clips: Sequence[Misrouted], task: str, folder: Path) -> list[RenderableType]:
    if not clips:
        return []
    table = bare("clip", "class", "sent to", "score", "p-value")
    for one in clips[:_MOST_CLIPS]:
        where = one.task if one.known else f"unknown (nearest: {one.task})"
        table.add_row(
            Breakable(in_folder(one.place, folder)), one.label, where, f"{one.task_score:.2f}", f"{one.p_value:.2f}"
        )
    if len(clips) > _MOST_CLIPS:
        table.add_row(more(len(clips) - _MOST_CLIPS, "csv"))
    return [Group(line(f"not sent to {task}, or called unknown, in {folder}", "bold"), table)]


def _share(one: Share) -> str:
    return right_of(one.right, one.clips)


def _folder(paths: Sequence[Path]) -> Path:
    """Return the folder that all clips are in."""
    return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
