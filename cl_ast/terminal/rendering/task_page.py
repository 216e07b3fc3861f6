"""Shows everything about one task: what it is, how it was trained, and its versions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from rich.console import Group, RenderableType

from cl_ast.evaluation.shown_accuracy import FEW, countable, counted, in_sentence, with_interval
from cl_ast.excerpts import in_folder
from cl_ast.tasks.kind_names import is_tags, metric_of
from cl_ast.tasks.origin import by_name_only, how_to_route, routing_of
from cl_ast.tasks.thresholds import thresholds_of, windows_of
from cl_ast.terminal.rendering.layout import Breakable, EscapedTable, bare, line
from cl_ast.terminal.rendering.records import epochs, stopped
from cl_ast.wording import duration, size
from registry import TaskRecord, VersionRecord

if TYPE_CHECKING:
    from cl_ast.tasks.source import VersionSplit

_LONGEST_LIST = 10_000  # characters of all labels or packages together
_LONGEST_VALUE = 5_000  # of the data's path, or of an option
USUAL_ALPHA = 0.05  # `cl_ast.router.ALPHA`, which would import torch
_MOST_CLASSES = 40  # in the table of a split
_MOST_CLIPS = 20  # of each split


def task(record: TaskRecord, versions: Sequence[VersionRecord], seconds: float | None) -> RenderableType:
    """Return the page of one task.

    Args:
        seconds: how much of a clip it takes.
    """
    v = record.version
    facts = EscapedTable.grid(padding=(0, 2))
    for name, value in (
        ("task", record.name),
        ("tags" if is_tags(v) else "labels", _listed(record.labels)),
        ("hears", "–" if seconds is None else f"{seconds:g} s of a clip at a time"),
        ("method", v.method),
        ("parameters", f"{v.trainable_parameters:,}"),
        ("size", size(v.adapter_bytes)),
        ("data", f"{_short(v.source.get('data', '')) or 'imported'} ({v.data_fingerprint[:12]})"),
        ("split", v.protocol),
        *([("shared part", v.shared[:12])] if v.shared else []),
        *_training(v),
        *_routing(v),
        *_thresholds(v),
        ("packages", _listed([f"{name} {number}" for name, number in v.packages.items()])),
        ("file", f"{v.adapter_sha256[:12]}….safetensors"),
    ):
        facts.add_row(line(name, "bold"), value)  # every value has a bounded length, whoever wrote the registry
    return Group(facts, _versions(record, versions))


def _routing(v: VersionRecord) -> list[tuple[str, str]]:
    """Return the row about how the router knows the task; none for a version of an older cl-ast without a record."""
    if by_name_only(v):
        return [("routing", f"by name only; {how_to_route(v.task)} learns it from clips in DIR")]
    record = routing_of(v)
    if "router" not in record:
        return []
    clips = f", learned from {record['clips']} clips" if "clips" in record else ""
    folder = f" in {record['folder']}" if "folder" in record else ""
    routing = ("routing", f"{record['router']}{clips}{folder}")
    limit = [("unknown", f"where the p-value is below {_alpha(v)}")] if "alpha" in record else []
    negatives = negatives_of(v)
    return [routing, *limit, *([("negatives", negatives)] if negatives else [])]


def _thresholds(v: VersionRecord) -> list[tuple[str, str]]:
    """Return the row about where events of the classes begin; none where `cl-ast tune` has not chosen that."""
    found = [f"{label} {on:.2f}" for label, on in thresholds_of(v).items()]
    windows = windows_of(v)
    of = "" if windows is None else f" ({windows.in_words()})"
    return [("events begin at", _listed(found) + of)] if found else []


def _alpha(v: VersionRecord) -> str:
    """Return the limit for "unknown" as the version records it, and as anybody may have written it."""
    value = routing_of(v).get("alpha", USUAL_ALPHA)
    return f"{value:.2f}" if _is_number(value) else _short(value)


def limit_line(v: VersionRecord) -> str:
    """Return when a clip is unknown to a task."""
    return f"{v.task}: a clip is unknown where its p-value is below {_alpha(v)}"


def negatives_of(v: VersionRecord) -> str:
    """Return which negatives a task has and how well they are known as such; an empty text for none."""
    record = routing_of(v).get("negatives")
    if not isinstance(record, Mapping):
        return ""
    pieces, unknown, folder = (_short(record.get(key)) for key in ("pieces", "unknown", "folder"))
    return f"{unknown} of {pieces} pieces of {folder} come out unknown, each by what the others teach"


def _training(v: VersionRecord) -> list[tuple[str, str]]:
    """Return the rows about the training; a version of an older release only has seed and time."""
    record = v.training
    rows = [("seed", str(v.seed)), ("trained in", duration(v.seconds))]
    if "epochs" not in record:
        return rows
    rows.append(("training", _options(record)))
    best = record.get("best_epoch")
    when = f"epoch {_short(best)}" if best else "the linear probe, which training did not improve on"
    accuracy, loss = record.get("validation_accuracy"), record.get("validation_loss")
    clips = countable(record, "validation")
    shown = in_sentence(accuracy, clips) if _is_share(accuracy) else "–"
    rows.append(("best", f"{when}: validation {metric_of(v)} {shown}, loss {_number(loss)}"))
    early = _short(stopped(record))
    rows += [("stopped", early)] if early else []
    temperature = record.get("temperature")
    if "temperature" in record:
        how = "as the head gives them" if temperature is None else f"calibrated, temperature {_number(temperature)}"
        rows.append(("probabilities", how))
    curve = _curve(record, clips)
    return [*rows, ("validation %" if clips is None or clips >= FEW else "validation", curve)] if curve else rows


def _options(record: Mapping[str, Any]) -> str:
    """Return the options of a training in one sentence."""
    said = {name: _short(value) for name, value in record.items()}
    masks = f"masks of {said.get('frequency_mask')} bins and {said.get('time_mask')} frames"
    changed = f"augmented with {said['augment']}" if said.get("augment", "none") != "none" else ""
    weighted = "classes weighted" if said.get("class_weights", "none") != "none" else ""
    parts = (
        epochs(record.get("epochs")),
        f"batch {said.get('batch_size')}",
        f"learning rate {_number(record.get('learning_rate'))}",
        f"weight decay {_number(record.get('weight_decay'))}",
        f"head {said.get('head')}",
        masks if record.get("frequency_mask") or record.get("time_mask") else "no masks",
        changed,
        weighted,
        f"pooling {said.get('pooling')}",
        f"crop {said.get('crop', 'start')}",
        f"precision {said.get('precision')} on {said.get('device')}",
    )
    return ", ".join(part for part in parts if part)


def _curve(record: Mapping[str, Any], clips: int | None) -> str:
    """Return the validation accuracy of the first epoch, the last epoch and some epochs in between."""
    recorded = record.get("curve")
    curve = [one for one in recorded if isinstance(one, Mapping)] if isinstance(recorded, list) else []
    step = max(1, -(-len(curve) // 10))
    shown = [one for index, one in enumerate(curve) if index % step == 0 or index == len(curve) - 1]
    return "  ".join(f"{_short(one.get('epoch'))}: {_share(one.get('validation_accuracy'), clips)}" for one in shown)


def _number(value: object) -> str:
    return f"{value:.4g}" if _is_number(value) else "–"


def _share(value: object, clips: int | None) -> str:
    return counted(value, clips) if _is_share(value) else "–"


def _is_share(value: object) -> TypeGuard[float]:
    return _is_number(value) and 0 <= value <= 1


def _is_number(value: object) -> TypeGuard[float]:
    """Return whether a value of a record, which may have been written by anybody, is a number that can be shown."""
    return isinstance(value, int | float) and abs(value) < 1e300


def _listed(values: Sequence[str]) -> str:
    """Return the values in one line; of very many, the first, and how many are left out."""
    shown = sum(1 for _ in takewhile(lambda length: length <= _LONGEST_LIST, accumulate(map(len, values))))
    more = f" and {len(values) - shown:,} more (--format json has them)" if shown < len(values) else ""
    return ", ".join(values[:shown]) + more


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def split(version: VersionRecord, found: "VersionSplit") -> RenderableType:
    """Return how many clips of each class are in each split, and the first clips of each split."""
    counts = bare("class", *(f"{name}" for name in found.clips))
    of_class = {name: Counter(label for clip in clips for label in clip.labels) for name, clips in found.clips.items()}
    for label in version.labels[:_MOST_CLASSES]:
        counts.add_row(label, *(str(of_class[name][label]) for name in found.clips))
    if len(version.labels) > _MOST_CLASSES:
        counts.add_row(line(f"… {len(version.labels) - _MOST_CLASSES} more classes", "dim"))
    counts.add_row(line("all", "bold"), *(str(len(clips)) for clips in found.clips.values()))
    clips = bare("clip", "class", "split")
    root = Path(str(version.source.get("data", "")))
    for name, of_split in found.clips.items():
        for clip in of_split[:_MOST_CLIPS]:
            clips.add_row(Breakable(in_folder(clip.place, root)), clip.label, name)
        if len(of_split) > _MOST_CLIPS:
            clips.add_row(line(f"… {len(of_split) - _MOST_CLIPS:,} more: --format csv lists all", "dim"), "", name)
    title = f"{version.task}, version {version.number}: {version.protocol}"
    return Group(line(title), "", counts, "", line(f"clips in {_short(root)}", "bold"), clips)


def _versions(record: TaskRecord, versions: Sequence[VersionRecord]) -> EscapedTable:
    table = bare("version", "method", "size", "test %", "on", "current")
    for one in versions:
        table.add_row(
            str(one.number),
            Breakable(one.method),
            size(one.adapter_bytes),
            with_interval(one.learned_accuracy, countable(one.training, "test")),
            f"{one.created:%Y-%m-%d %H:%M}",
            "●" if one.id == record.version.id else "",
        )
    return table
