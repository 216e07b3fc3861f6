"""Shows the report of `cl-ast stats` as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from cl_ast.evaluation.shown_accuracy import countable_test_clips, counted, of_clips
from cl_ast.tasks.kind_names import ACCURACY, MAP
from cl_ast.terminal.rendering.layout import EscapedTable, bare, line, square
from cl_ast.terminal.rendering.tables import listed, percent, with_metric
from cl_ast.wording import size, some_of

_MOST_NAMES = 10  # of tasks in a line


def stats(report: Mapping[str, Any]) -> RenderableType:
    """Return the accuracy matrices, the metrics, the routing and the storage as tables and lines."""
    names = [task["name"] for task in report["tasks"]]
    if not names:
        return "no task yet; teach one with: cl-ast add-task TASK"
    parts: list[RenderableType] = [_backbone(report["backbone"]), _tasks_of(report)]
    if not report["matrix"]["oracle"]:
        parts.append(f"the tables of tasks by tasks are left out: {len(names):,} columns; --format json has them")
    for mode, title in (("oracle", "with the task named"), ("auto", "with the task chosen by the router")):
        matrix = report["matrix"][mode]
        if any(value is not None for row in matrix for value in row):
            measure = " and ".join(dict.fromkeys(task["metric"] for task in report["tasks"]))
            full_title = f"test {measure} %, {title} (one row after each task was added)"
            clips = [countable_test_clips(task) for task in report["tasks"]]
            parts.append(_titled(full_title, _matrix(names, matrix, clips)))
    parts += _metrics(report)
    if report["routing"]["task_accuracy"] is not None:
        parts.append(_routing(names, report["routing"]))
    if "reason" in report["routing"]:
        parts.append(f"routing of {report['routing']['reason']}; `cl-ast evaluate` measures it again")
    parts.append(_storage(report["storage"]))
    parts += map(_shared_part, report.get("shared_parts", ()))
    return Group(*_spaced(parts))


def _backbone(backbone: Mapping[str, Any] | None) -> str:
    if backbone is None:  # its row was lost
        return "backbone: not recorded; `cl-ast verify` says what is wrong with the registry"
    return f"backbone {backbone['name']}: {backbone['parameters']:,} parameters, {size(backbone['bytes'])}, frozen"


def _storage(storage: Mapping[str, Any]) -> str:
    database = f"database {size(storage['database_bytes'])}"
    if not storage["adapter_bytes"]:
        return f"storage: every adapter file is missing, `cl-ast verify` names them; {database}"
    copies, ratio = storage["full_copies_bytes"], storage["ratio"]
    against = f", against {size(copies)} for a full copy a task ({ratio:.1f} times as much)" if copies else ""
    return f"storage: {size(storage['adapter_bytes'])} of adapters{against}; {database}"


def _shared_part(part: Mapping[str, Any]) -> str:
    read, trained = some_of(part["read_by"], _MOST_NAMES), some_of(part["trained_on"], _MOST_NAMES)
    return (
        f"shared part {part['name']} ({part['method']}): {size(part['bytes'])}, read by {read or 'no task'}, "
        f"trained on {trained}"
    )


def _tasks_of(report: Mapping[str, Any]) -> RenderableType:
    columns = ("task", "method", "parameters", "size", "after\ntraining %", "last\nmeasured %", "\nrouted %")
    return listed(
        columns,
        [
            (
                with_metric(task["name"], task["metric"]),
                task["method"],
                f"{task['trainable_parameters']:,}",
                size(task["bytes"]),
                counted(task["learned_accuracy"], countable_test_clips(task)),
                counted(task["accuracy"], countable_test_clips(task)),
                counted(task["auto_accuracy"], countable_test_clips(task)),
            )
            for task in report["tasks"]
        ],
    )


def _routing(names: Sequence[str], routing: Mapping[str, Any]) -> RenderableType:
    clips = sum(map(sum, routing["confusion"]))
    title = f"routing: {of_clips(routing['task_accuracy'], clips)} were sent to the right task"
    if not routing["confusion"]:
        return title
    return _titled(f"{title} (row: the clips' task; column: where they went)", _confusion(names, routing["confusion"]))


def _matrix(
    names: Sequence[str], matrix: Sequence[Sequence[float | None]], clips: Sequence[int | None]
) -> EscapedTable:
    """Return a table of accuracies; `clips` are the test clips of each column's task."""
    table = square(names)
    for name, row in zip(names, matrix, strict=True):
        cells = zip(row, clips, strict=True)
        table.add_row(name, *("" if value is None else counted(value, count) for value, count in cells))
    return table


def _metrics(report: Mapping[str, Any]) -> list[RenderableType]:
    """Return a table of the metrics over the tasks with an accuracy, and one over those with a mAP."""
    kinds = {task["metric"] for task in report["tasks"]}
    found: list[RenderableType] = []
    for name, key, metrics in (
        (ACCURACY, "average_accuracy", report["metrics"]),
        (MAP, "average_mAP", report.get("tag_metrics")),
    ):
        if name not in kinds or metrics is None:
            continue
        of = f" of the {sum(task['metric'] == name for task in report['tasks'])} tasks with it" * (len(kinds) > 1)
        table = bare("metric", "by name %", "routed %", "what it is")
        for row, title, what in (
            (key, f"average {name}", f"mean of the last row{of} (GEM)"),
            ("forgetting", "forgetting", f"drop from the best earlier {name}, mean over earlier tasks (RWalk)"),
            ("backward_transfer", "backward transfer", f"last {name} less the first, mean over earlier tasks (GEM)"),
        ):
            table.add_row(title, percent(metrics["oracle"][row]), percent(metrics["auto"][row]), line(what, "dim"))
        found.append(table)
    return found


def _confusion(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> EscapedTable:
    table = square(names)
    for i, (name, row) in enumerate(zip(names, confusion, strict=True)):
        table.add_row(name, *(line(str(n), "bold" if i == j else "") for j, n in enumerate(row)))
    return table


def _titled(title: str, table: EscapedTable) -> RenderableType:
    # The title of a rich table would be broken at the table's width, so it is a line of its own.
    return Group(line(title, "bold"), table)


def _spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    lines = (line(part) if isinstance(part, str) else part for part in parts)
    return [item for part in lines for item in (part, "")][:-1]
