"""Measured accuracies: recording them, and the two tables of tasks by tasks that the metrics are computed from.

Row i of the table of accuracies is what was measured after the current version of task i had been learned. Measuring
again later adds to the row of the task that is the last one by then, and the newest value of a cell counts. A value
belongs to the version that was measured: after `commit(replace=True)` or `rollback` only values of current versions
count, and with a task its row and its column are removed. What remains is a history that could have happened.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import NamedTuple

from cl_ast.errors import RegistryError
from registry import row_checks, rows
from registry.database import Reader, Writer
from registry.records import Accuracy, Mode, TaskRecord

_CURRENT = """
    SELECT v.id, v.task_id, t.name FROM versions v JOIN tasks t ON v.task_id = t.id AND v.id = t.current_version_id
    ORDER BY v.id"""
_MEASURED = """
    SELECT m.after_version_id, a.version_id, a.accuracy FROM accuracies a JOIN measurements m ON a.measurement_id = m.id
    WHERE a.mode = ? AND m.after_version_id IN (SELECT current_version_id FROM tasks) ORDER BY m.id"""
_ROUTED = """
    SELECT version_id, CAST(routed AS TEXT) FROM accuracies
    WHERE id IN (SELECT max(id) FROM accuracies WHERE mode = 'auto' GROUP BY version_id)"""

Cells = Mapping[tuple[int, int], float]
"""The cells of a table of tasks by tasks that are known, by (row, column): most of a long table is empty."""


def record(writer: Writer, measured: Sequence[Accuracy], after_version_id: int) -> int:
    """Record what was measured after that version had been learned, and return the measurement's id.

    Raises:
        TaskNotFoundError: a task that was measured, or that clips were routed to, is not there.
        RegistryError: nothing was measured, or a task twice in the same mode.
    """
    from registry.models import AccuracyRow, MeasurementRow

    if not measured:
        raise RegistryError("nothing was measured, so there is nothing to record")
    ids = {name: rows.ids(writer, name) for item in measured for name in (item.task, *item.routed)}
    if len({(ids[item.task], item.mode) for item in measured}) != len(measured):
        raise RegistryError("a task was measured twice in the same mode; which of the two counts?")
    measurement = MeasurementRow(after_version_id=after_version_id, created=datetime.now(UTC))
    writer.session.add(measurement)
    writer.session.flush()
    writer.session.add_all(
        AccuracyRow(
            measurement_id=measurement.id,
            version_id=ids[item.task][1],
            mode=item.mode,
            accuracy=float(item.accuracy),
            clips=item.clips,
            routed={str(ids[name][0]): clips for name, clips in item.routed.items()},
        )
        for item in measured
    )
    writer.session.flush()
    return measurement.id


def last_learned(reader: Reader) -> int:
    """Return the id of the current version that was learned last. Raises RegistryError where there is none."""
    for (id,) in reader.query("SELECT max(current_version_id) FROM tasks"):
        if row_checks.is_id(id):
            return int(id)
    raise RegistryError("the registry has no task yet, so nothing can have been measured")


class LearningOrder(NamedTuple):
    """The tasks in the order in which their current versions were learned.

    Attributes:
        versions, tasks: the place of each task in that order, by its current version's id and by its own.
        names: the tasks' names, in that order.
    """

    versions: Mapping[int, int]
    tasks: Mapping[str, int]
    names: Sequence[str]


def learning_order(reader: Reader) -> LearningOrder:
    """Return the tasks in the order in which their current versions were learned."""
    found = [row for row in reader.query(_CURRENT) if row_checks.is_id(row[0]) and row_checks.is_name(row[2])]
    versions = {id: i for i, (id, _, _) in enumerate(found)}
    return LearningOrder(versions, {str(task): i for i, (_, task, _) in enumerate(found)}, [name for *_, name in found])


def order_of(tasks: Sequence[TaskRecord]) -> LearningOrder:
    """Return the order of tasks that were read already, as `rows.tasks` gives them."""
    versions = {task.version.id: i for i, task in enumerate(tasks)}
    return LearningOrder(versions, {str(task.id): i for i, task in enumerate(tasks)}, [task.name for task in tasks])


def accuracies(reader: Reader, mode: Mode, order: LearningOrder) -> Cells:
    """Return the accuracy on the task of the column, measured after that of the row; nothing above the diagonal."""
    cells = {}
    for after, version, accuracy in reader.query(_MEASURED, mode):
        i, j = order.versions.get(after, -1), order.versions.get(version, -1)
        if 0 <= j <= i and _is_fraction(accuracy):
            cells[i, j] = float(accuracy)
    return cells


def routed(reader: Reader, order: LearningOrder) -> Mapping[tuple[int, int], int]:
    """Return how many test clips of the task of the row were last routed to the task of the column."""
    return {(row, column): clips for row, went in _routed(reader, order) for column, clips in went.items()}


def _routed(reader: Reader, order: LearningOrder) -> Iterator[tuple[int, dict[int, int]]]:
    """Yield each row of the table of routed clips, with its cells by column."""
    versions, tasks = order.versions, order.tasks
    for version, words in reader.query(_ROUTED):
        if version in versions:
            try:
                counts = row_checks.counts(words)
            except (ValueError, TypeError, RecursionError):  # no object of counts, which `problems` reports
                continue
            yield versions[version], {tasks[id]: clips for id, clips in counts.items() if id in tasks}


def problems(reader: Reader) -> list[str]:
    """Return what is wrong with the accuracies that the tables leave out, in words."""
    wrong = 0
    for accuracy, words in reader.query("SELECT accuracy, CAST(routed AS TEXT) FROM accuracies"):
        try:
            row_checks.counts(words)
        except (ValueError, TypeError, RecursionError):
            wrong += 1
        else:
            wrong += not _is_fraction(accuracy)
    return [f"{wrong:,} of its measured accuracies cannot be used"] if wrong else []


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def nearest(reader: Reader, order: LearningOrder) -> dict[str, list[tuple[str, float]]]:
    """Return to which other tasks the clips of each task went, as shares of its clips that were routed to any task."""
    found = {}
    for row, to in sorted(_routed(reader, order), key=itemgetter(0)):
        given = sum(to.values())
        if not given:
            continue
        shares = [(order.names[column], clips / given) for column, clips in to.items() if clips and column != row]
        found[order.names[row]] = shares if len(shares) < 2 else sorted(shares, key=lambda pair: (-pair[1], pair[0]))
    return found
