"""Shows everything about one task: what it is, how it was trained, and its versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cl_ast.tasks.origin import by_name_only, how_to_route, routing_of
from cl_ast.terminal.rendering.layout import Breakable, bare
from cl_ast.terminal.rendering.tables import percent, size
from registry import TaskRecord, VersionRecord


def task(record: TaskRecord, versions: Sequence[VersionRecord]) -> RenderableType:
    """Return the page of one task."""
    v = record.version
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("task", record.name),
        ("labels", ", ".join(record.labels)),
        ("method", v.method),
        ("parameters", f"{v.trainable_parameters:,}"),
        ("size", size(v.adapter_bytes)),
        ("data", f"{v.source.get('data', '')} ({v.data_fingerprint[:12]})"),
        ("split", v.protocol),
        *_training(v),
        *_routing(v),
        ("packages", ", ".join(f"{name} {number}" for name, number in v.packages.items())),
        ("file", f"{v.adapter_sha256[:12]}….safetensors"),
    ):
        facts.add_row(Text(name, style="bold"), value)
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
    return [("routing", f"{record['router']}{clips}{folder}")]


def _training(v: VersionRecord) -> list[tuple[str, str]]:
    """Return the rows about the training; a version of an older release only has seed and time."""
    record = v.training
    rows = [("seed", str(v.seed)), ("trained in", f"{v.seconds:.0f} s")]
    if "epochs" not in record:
        return rows
    rows.append(("training", _options(record)))
    best = record.get("best_epoch")
    when = f"epoch {best}" if best else "the linear probe, which training did not improve on"
    accuracy, loss = record.get("validation_accuracy"), record.get("validation_loss")
    shown = percent(accuracy) if isinstance(accuracy, int | float) else "–"
    rows.append(("best", f"{when}: validation accuracy {shown} %, loss {_number(loss)}"))
    curve = _curve(record)
    return [*rows, ("validation %", curve)] if curve else rows


def _options(record: Mapping[str, Any]) -> str:
    """Return the options of a training in one sentence."""
    masks = f"masks of {record.get('frequency_mask')} bins and {record.get('time_mask')} frames"
    return ", ".join(
        (
            f"{record.get('epochs')} epochs",
            f"batch {record.get('batch_size')}",
            f"learning rate {_number(record.get('learning_rate'))}",
            f"weight decay {_number(record.get('weight_decay'))}",
            f"head {record.get('head')}",
            masks if record.get("frequency_mask") or record.get("time_mask") else "no masks",
            f"pooling {record.get('pooling')}",
            f"precision {record.get('precision')} on {record.get('device')}",
        )
    )


def _curve(record: Mapping[str, Any]) -> str:
    """Return the validation accuracy of the first epoch, the last epoch and some epochs in between."""
    curve = [one for one in record.get("curve") or [] if isinstance(one, Mapping)]
    step = max(1, -(-len(curve) // 10))
    shown = [one for index, one in enumerate(curve) if index % step == 0 or index == len(curve) - 1]
    return "  ".join(f"{one.get('epoch')}: {percent(one.get('validation_accuracy'))}" for one in shown)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"


def _versions(record: TaskRecord, versions: Sequence[VersionRecord]) -> Table:
    table = bare("version", "method", "size", "test %", "on", "current")
    for one in versions:
        table.add_row(
            str(one.number),
            Breakable(one.method),
            size(one.adapter_bytes),
            percent(one.learned_accuracy),
            f"{one.created:%Y-%m-%d %H:%M}",
            "●" if one.id == record.version.id else "",
        )
    return table
