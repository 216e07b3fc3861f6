"""Measured accuracies: recording them, and the two tables of tasks by tasks that the metrics are computed from.

Row i of the table of accuracies is what was measured after the current version of task i had been learned. Measuring
again later adds to the row of the task that is the last one by then, and the newest value of a cell counts. A value
belongs to the version that was measured: after `commit(replace=True)` or `rollback` only values of current versions
count, and with a task its row and its column are removed. What remains is a history that could have happened.

By name, what was measured stays true whatever happens to other tasks. Routed it does not: where a task comes, goes or
gets another version, clips may go elsewhere. So a routed measurement records among which versions the router chose
(`_among`), and it holds now only where these are the current ones. `outdated` says for which tasks none does.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import last_change, row_checks, rows
from registry.database import Reader, Writer
from registry.records import Accuracy, Mode, Outdated, TaskRecord

_CURRENT = """
    SELECT v.id, v.task_id, t.name FROM versions v JOIN tasks t ON v.task_id = t.id AND v.id = t.current_version_id
    ORDER BY v.id"""
_MEASURED = """
    SELECT m.after_version_id, a.version_id, a.accuracy FROM accuracies a JOIN measurements m ON a.measurement_id = m.id
    WHERE a.mode = ? AND m.after_version_id IN (SELECT current_version_id FROM tasks) ORDER BY m.id"""
_ROUTED = """
    SELECT version_id, CAST(routed AS TEXT) FROM accuracies
    WHERE id IN (SELECT max(id) FROM accuracies WHERE mode = 'auto' GROUP BY version_id)"""
_ROUTED_AFTER = """
    SELECT a.version_id, a.accuracy, CAST(a.routed AS TEXT) FROM accuracies a
    JOIN measurements m ON a.measurement_id = m.id
    WHERE a.mode = 'auto' AND m.after_version_id = ? ORDER BY a.id"""
_LAST_ROUTED = """
    SELECT CAST(m.created AS TEXT) FROM accuracies a JOIN measurements m ON a.measurement_id = m.id
    WHERE a.mode = 'auto' AND a.version_id IN (SELECT current_version_id FROM tasks) ORDER BY m.id DESC LIMIT 1"""
_AMONG = "among"
"""The key in `routed`, beside the ids of tasks, of a checksum of the versions that the router chose among."""

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
    among = _among(learning_order(writer).versions)
    writer.session.add_all(
        AccuracyRow(
            measurement_id=measurement.id,
            version_id=ids[item.task][1],
            mode=item.mode,
            accuracy=float(item.accuracy),
            clips=item.clips,
            routed=_counted({str(ids[name][0]): clips for name, clips in item.routed.items()}, among, item.mode),
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


def _counted(routed: Mapping[str, int], among: int, mode: Mode) -> dict[str, int]:
    return {**routed, _AMONG: among} if mode == "auto" else dict(routed)


def _among(versions: Iterable[int]) -> int:
    """Return a checksum of a set of versions, which an older cl-ast takes for a number of clips, and passes over."""
    text = ",".join(map(str, sorted(versions)))
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16)


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


class Routed(NamedTuple):
    """What was measured of one task while the router chose among the current versions.

    Attributes:
        accuracy: the share of its test clips whose task and label were both right.
        clips: how many of them went to the task of each column.
    """

    accuracy: float
    clips: Mapping[int, int]


def routed_now(reader: Reader, order: LearningOrder) -> dict[int, Routed]:
    """Return what was last measured of each task, by its row, while the router chose among the current versions.

    An older cl-ast did not record among which versions it measured; that counts unless clips went to a task that is
    not there any more.
    """
    if not order.versions:
        return {}
    found, now = {}, _among(order.versions)
    # A measurement among the current versions was made after the last of them was learned.
    for version, accuracy, words in reader.query(_ROUTED_AFTER, max(order.versions)):
        counts = _counts(words)
        if version not in order.versions or counts is None or not _is_fraction(accuracy):
            continue
        if counts.pop(_AMONG, now) == now and all(id in order.tasks for id in counts):
            clips = {order.tasks[id]: number for id, number in counts.items()}
            found[order.versions[version]] = Routed(float(accuracy), clips)
    return found


def accuracies(reader: Reader, mode: Mode, order: LearningOrder, now: Mapping[int, Routed]) -> Cells:
    """Return the accuracy on the task of the column, measured after that of the row; nothing above the diagonal.

    Args:
        now: what `routed_now` gives.
    """
    cells = {}
    for after, version, accuracy in reader.query(_MEASURED, mode):
        i, j = order.versions.get(after, -1), order.versions.get(version, -1)
        if 0 <= j <= i and _is_fraction(accuracy):
            cells[i, j] = float(accuracy)
    if mode == "auto":
        cells |= {(len(order.names) - 1, j): one.accuracy for j, one in now.items()}
    return cells


def routed(reader: Reader, order: LearningOrder, now: Mapping[int, Routed]) -> dict[int, Mapping[int, int]]:
    """Return of each row's task how many test clips were routed to the task of each column: now or, else, last."""
    found = {}
    for version, words in reader.query(_ROUTED):
        row = order.versions.get(version)
        counts = None if row in now else _counts(words)
        if row is not None and row in now:
            found[row] = now[row].clips
        elif row is not None and counts is not None:
            found[row] = {order.tasks[id]: clips for id, clips in counts.items() if id in order.tasks}
    return found


def outdated(
    reader: Reader, tasks: Sequence[TaskRecord], rows: Collection[int], now: Mapping[int, Routed]
) -> Outdated | None:
    """Return which tasks were only routed among other versions than the current ones, and since when; None for none.

    Args:
        tasks: all of them, in learning order.
        rows: those that were ever routed.
    """
    wrong = frozenset(rows) - now.keys()
    if not wrong:
        return None
    moment = next((_instant(text) for (text,) in reader.query(_LAST_ROUTED)), None)
    newer = [task.version for task in tasks if moment is not None and task.version.created > moment]
    if newer:
        first = newer[0]
        came = f"task {first.task} was added" if first.number == 1 else f"version {first.number} of {first.task}"
        return Outdated(wrong, came)
    with suppress(CorruptRegistryError):
        change = last_change.read(reader)
        if change is not None and change.kind in ("remove", "rollback"):
            return Outdated(wrong, f"cl-ast {change.what}")
    return Outdated(wrong, "a task was removed or went back to another version")


def _instant(text: object) -> datetime | None:
    try:
        return row_checks.instant(text)  # type: ignore[arg-type]  # it may be anything
    except (ValueError, TypeError, OverflowError):
        return None


def _counts(words: Any) -> dict[str, int] | None:
    """Return what a row says of routed clips; None for what is no object of counts, which `problems` reports."""
    try:
        return row_checks.counts(words)
    except (ValueError, TypeError, RecursionError):
        return None


def problems(reader: Reader) -> list[str]:
    """Return what is wrong with the accuracies that the tables leave out, in words."""
    found = reader.query("SELECT accuracy, CAST(routed AS TEXT) FROM accuracies")
    wrong = sum(_counts(words) is None or not _is_fraction(accuracy) for accuracy, words in found)
    return [f"{wrong:,} of its measured accuracies cannot be used"] if wrong else []


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def nearest(reader: Reader, order: LearningOrder) -> dict[str, list[tuple[str, float]]]:
    """Return to which other tasks the clips of each task went, as shares of its clips that were routed to any task."""
    found = {}
    for row, to in sorted(routed(reader, order, routed_now(reader, order)).items()):
        given = sum(to.values())
        if not given:
            continue
        shares = [(order.names[column], clips / given) for column, clips in to.items() if clips and column != row]
        found[order.names[row]] = shares if len(shares) < 2 else sorted(shares, key=lambda pair: (-pair[1], pair[0]))
    return found
