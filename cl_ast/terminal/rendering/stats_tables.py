"""What `stats` reports, as tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cl_ast.terminal.rendering.layout import bare, square
from cl_ast.terminal.rendering.tables import listed, percent, size


def stats(report: Mapping[str, Any]) -> RenderableType:
    """Return the accuracy matrices, the metrics, the routing and the storage."""
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
    for mode, title in (("oracle", "with the task named"), ("auto", "with the task chosen by the router")):
        if any(value is not None for row in report["matrix"][mode] for value in row):
            parts.append(
                _titled(
                    f"test accuracy %, {title} (one row after each task was added)",
                    _matrix(names, report["matrix"][mode]),
                )
            )
    parts.append(_metrics(report["metrics"]))
    if report["routing"]["task_accuracy"] is not None:
        title = f"routing: {percent(report['routing']['task_accuracy'])} % of clips were sent to the right task"
        if report["routing"]["confusion"]:
            table = _confusion(names, report["routing"]["confusion"])
            parts.append(_titled(f"{title} (row: the clips' task; column: where they went)", table))
        else:
            parts.append(title)
    storage = report["storage"]
    parts.append(
        f"storage: {size(storage['adapter_bytes'])} of adapters, against {size(storage['full_copies_bytes'])} for a "
        f"full copy a task ({storage['ratio']:.1f} times as much); database {size(storage['database_bytes'])}"
    )
    return Group(*_spaced(parts))


def _tasks_of(report: Mapping[str, Any]) -> RenderableType:
    columns = ("task", "method", "parameters", "size", "after\ntraining %", "last\nmeasured %", "\nrouted %")
    return listed(
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
        ("forgetting", "forgetting", "drop from the best earlier accuracy, mean over earlier tasks (RWalk)"),
        ("backward_transfer", "backward transfer", "last accuracy less the first, mean over earlier tasks (GEM)"),
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


def _spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    return [item for part in parts for item in (part, "")][:-1]
