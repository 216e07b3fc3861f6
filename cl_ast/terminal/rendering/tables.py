"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cl_ast.terminal.rendering.layout import Breakable, Lines, bare, square

if TYPE_CHECKING:
    from cl_ast.inference.prediction import Prediction
    from registry import TaskRecord, VersionRecord

_NEAREST = 3
_A_FEW = 0.01  # of a task's clips
_MOST_RICH = 100  # rows that rich lays out in no time


def show(*parts: RenderableType) -> None:
    """Print to standard output; as wide as it needs to be where that is not a terminal."""
    # Names and paths are printed as they are: no [markup], no :emoji:.
    width = None if Console().is_terminal else 160
    Console(highlight=False, markup=False, emoji=False, width=width).print(*parts, sep="\n", crop=False)


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def size(count: float | None) -> str:
    """Bytes as a person reads them."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def predictions(answers: Sequence[Prediction]) -> RenderableType:
    """A row a clip (or window): task, best label, the runners-up."""
    windows = any(answer.start is not None for answer in answers)
    table = bare("clip", *(["from", "to"] if windows else []), "task", "label", "probability", "then")
    for answer in answers:
        (label, score), *others = answer.labels
        span = [f"{answer.start:.2f}", f"{answer.end:.2f}"] if windows else []
        task = answer.task if answer.known else f"unknown (nearest: {answer.task})"
        then = ", ".join(f"{name} {value:.2f}" for name, value in others)
        style = "" if answer.known else "yellow"
        table.add_row(
            Breakable(answer.path), *span, Text(task, style=style), label, f"{score:.2f}", Text(then, style="dim")
        )
    return table


def tasks(records: Sequence[TaskRecord]) -> RenderableType:
    """A row a task, in learning order."""
    if not records:
        return "no task yet; teach one with: cl-ast add-task TASK"
    columns = ("task", "method", "classes", "parameters", "size", "ver.", "learned %", "on")
    return _listed(columns, [_task_cells(record.version) for record in records])


def nearest(shares: Mapping[str, Sequence[tuple[str, float]]]) -> Sequence[RenderableType]:
    """A line a task that the router takes for others; nothing where there is none, or where there are very many."""
    lines = []
    for task, others in shares.items():
        few = [f"{name} {100 * share:.0f} %" for name, share in others[:_NEAREST] if share >= _A_FEW]
        if few:
            lines.append(f"  {task} → {', '.join(few)}")
    if not lines or len(lines) > _MOST_RICH:
        return []
    return ["\nclips that the router gave to other tasks, of each task's own", *lines]


def _task_cells(v: VersionRecord) -> tuple[str, ...]:
    return (
        v.task,
        v.method,
        str(v.classes),
        f"{v.trainable_parameters:,}",
        size(v.adapter_bytes),
        str(v.number),
        percent(v.learned_accuracy),
        f"{v.created:%Y-%m-%d}",
    )


def task(record: TaskRecord, versions: Sequence[VersionRecord]) -> RenderableType:
    """Everything about one task."""
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
        ("seed", str(v.seed)),
        ("trained in", f"{v.seconds:.0f} s"),
        ("with", ", ".join(f"{name} {number}" for name, number in v.packages.items())),
        ("file", f"{v.adapter_sha256[:12]}….safetensors"),
    ):
        facts.add_row(Text(name, style="bold"), value)
    table = bare("version", "method", "size", "learned %", "on", "current")
    for one in versions:
        current = "●" if one.id == v.id else ""
        table.add_row(
            str(one.number),
            Breakable(one.method),
            size(one.adapter_bytes),
            percent(one.learned_accuracy),
            f"{one.created:%Y-%m-%d %H:%M}",
            current,
        )
    return Group(facts, table)


def methods(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A row a method."""
    table = bare("method", "parameters", "bytes a task", "source")
    for row in rows:
        table.add_row(
            Breakable(row["method"]),
            f"{row['trainable_parameters']:,}",
            size(row["bytes"]),
            Text(row["source"], "dim"),
        )
    return table


def compared(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A row a method on one task."""
    table = bare("method", "parameters", "bytes a task", "test %", "± seeds", "validation %", "training s")
    for row in rows:
        table.add_row(
            Breakable(row["method"]),
            f"{row['trainable_parameters']:,}",
            size(row["bytes"]),
            percent(row["accuracy"]),
            percent(row["spread"]),
            percent(row["validation"]),
            "–" if row["seconds"] is None else f"{row['seconds']:.1f}",
        )
    return table


def measured(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Test accuracy of each task just measured."""
    table = bare("task", "clips", "by name %", "routed %", "to its task %", "declined %")
    for row in rows:
        table.add_row(
            row["task"],
            str(row["clips"]),
            percent(row["accuracy"]),
            percent(row["auto_accuracy"]),
            percent(row["routed_right"]),
            percent(row["declined"]),
        )
    return table


def stats(report: Mapping[str, Any]) -> RenderableType:
    """The accuracy matrices, the metrics and the storage."""
    names = [task["name"] for task in report["tasks"]]
    if not names:
        return "no task yet; teach one with: cl-ast add-task TASK"
    backbone = report["backbone"]
    parts: list[RenderableType] = [
        f"backbone {backbone['name']}: {backbone['parameters']:,} parameters, {size(backbone['bytes'])}, frozen",
        _tasks_of(report),
    ]
    if not report["matrix"]["oracle"]:
        parts.append(f"the tables of tasks by tasks are left out: {len(names):,} columns; --format json has them")
    for mode, title in (("oracle", "asked by name"), ("auto", "task chosen by the router")):
        if any(value is not None for row in report["matrix"][mode] for value in row):
            parts.append(_titled(f"accuracy %, {title} (row: after learning)", _matrix(names, report["matrix"][mode])))
    parts.append(_metrics(report["metrics"]))
    if report["routing"]["task_accuracy"] is not None:
        title = f"routing: {percent(report['routing']['task_accuracy'])} % of clips to their own task"
        if report["routing"]["confusion"]:
            table = _confusion(names, report["routing"]["confusion"])
            parts.append(_titled(f"{title} (row: the clips' task, column: where they went)", table))
        else:
            parts.append(title)
    storage = report["storage"]
    parts.append(
        f"storage: {size(storage['adapter_bytes'])} of adapters, against {size(storage['full_copies_bytes'])} for a "
        f"full copy a task ({storage['ratio']:.1f} times as much); database {size(storage['database_bytes'])}"
    )
    return Group(*_spaced(parts))


def _tasks_of(report: Mapping[str, Any]) -> RenderableType:
    columns = ("task", "method", "parameters", "size", "learned %", "now %", "routed %")
    return _listed(
        columns,
        [
            (
                task["name"],
                task["method"],
                f"{task['trainable_parameters']:,}",
                size(task["bytes"]),
                percent(task["learned_accuracy"]),
                percent(task["accuracy"]),
                percent(task["auto_accuracy"]),
            )
            for task in report["tasks"]
        ],
    )


def _matrix(names: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> Table:
    table = square(names)
    for name, row in zip(names, matrix, strict=True):
        table.add_row(name, *("" if value is None else percent(value) for value in row))
    return table


def _metrics(metrics: Mapping[str, Mapping[str, float | None]]) -> Table:
    table = bare("metric", "by name %", "routed %", "what it is")
    for key, title, what in (
        ("average_accuracy", "average accuracy", "mean of the last row (GEM)"),
        ("forgetting", "forgetting", "best earlier less last, mean over earlier tasks (RWalk)"),
        ("backward_transfer", "backward transfer", "last less first, mean over earlier tasks (GEM)"),
    ):
        table.add_row(title, percent(metrics["oracle"][key]), percent(metrics["auto"][key]), Text(what, style="dim"))
    return table


def _confusion(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> Table:
    table = square(names)
    for i, (name, row) in enumerate(zip(names, confusion, strict=True)):
        table.add_row(name, *(Text(str(n), style="bold" if i == j else "") for j, n in enumerate(row)))
    return table


def _titled(title: str, table: Table) -> RenderableType:
    # Not the table's own title: that is folded to the table's width.
    return Group(Text(title, style="bold"), table)


def _listed(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> RenderableType:
    """A row a task: task and method may be broken, the rest are numbers. Very many rows are plain lines."""
    if len(rows) > _MOST_RICH:
        return Lines(columns, rows)
    table = bare(*columns)
    for name, method, *numbers in rows:
        table.add_row(Breakable(name), Breakable(method), *numbers)
    return table


def _spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    return [item for part in parts for item in (part, "")][:-1]
