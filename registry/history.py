"""What was measured after which task, and the two tables that the metrics are computed from.

Row i of the matrix is what was measured after task i's current version had been learned; measuring again
later adds to the row of the task learned last by then, and within a row the newest value of a cell counts.
A value belongs to the version that was measured: after `commit(replace=True)` or `rollback` only values of
versions that are current count, and a removed task leaves with its row and column. What remains is a
history that could have happened.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from cl_ast.errors import RegistryError
from registry import rows
from registry.database import Asking, Writing
from registry.records import Accuracy, Mode

Cells = Mapping[tuple[int, int], float]
"""What is known of a table of tasks by tasks, by (row, column): most of a long table is empty."""


def record(writing: Writing, measured: Sequence[Accuracy], after_version_id: int) -> None:
    """Keep `measured`. Raises TaskNotFoundError, RegistryError."""
    from registry.models import AccuracyRow, MeasurementRow

    if not measured:
        raise RegistryError("nothing was measured, so there is nothing to record")
    ids = {name: rows.ids(writing, name) for item in measured for name in (item.task, *item.routed)}
    if len({(ids[item.task], item.mode) for item in measured}) != len(measured):
        raise RegistryError("a task was measured twice in the same mode; which of the two counts?")
    measurement = MeasurementRow(after_version_id=after_version_id, created=datetime.now(UTC))
    writing.session.add(measurement)
    writing.session.flush()
    writing.session.add_all(
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
    writing.session.flush()


def last_learned(asking: Asking) -> int:
    """Id of the current version that was learned last. Raises RegistryError where there is none."""
    for (id,) in asking.ask("SELECT max(current_version_id) FROM tasks"):
        if id is not None:
            return int(id)
    raise RegistryError("the registry holds no task yet, so nothing can have been measured")


class Places(NamedTuple):
    """Where each task stands in the order of learning: by its current version's id, and by its own."""

    versions: Mapping[int, int]
    tasks: Mapping[str, int]
    names: Sequence[str]


def places(asking: Asking) -> Places:
    found = list(asking.ask(_CURRENT))
    versions = {id: i for i, (id, _, _) in enumerate(found)}
    return Places(versions, {str(task): i for i, (_, task, _) in enumerate(found)}, [str(name) for *_, name in found])


def accuracies(asking: Asking, mode: Mode, at: Places) -> Cells:
    """Accuracy on the task of the column, measured after that of the row; nothing above the diagonal."""
    cells = {}
    for after, version, accuracy in asking.ask(_MEASURED, mode):
        i, j = at.versions[after], at.versions.get(version, -1)
        if 0 <= j <= i:
            cells[i, j] = float(accuracy)
    return cells


def routed(asking: Asking, at: Places) -> Mapping[tuple[int, int], int]:
    """Test clips of the task of the row that were last routed to the task of the column."""
    cells = {}
    for version, words in asking.ask(_ROUTED):
        if version in at.versions:
            for id, clips in json.loads(words).items():
                if id in at.tasks:
                    cells[at.versions[version], at.tasks[id]] = int(clips)
    return cells


def nearest(asking: Asking) -> dict[str, list[tuple[str, float]]]:
    """To which others each task's clips went, as shares of its clips that were given to any task."""
    at = places(asking)
    went: dict[int, dict[int, int]] = defaultdict(dict)
    for (row, column), clips in routed(asking, at).items():
        went[row][column] = clips
    found = {}
    for row, to in sorted(went.items()):
        given = sum(to.values())
        shares = [(at.names[column], clips / given) for column, clips in to.items() if clips and column != row]
        if given:
            found[at.names[row]] = sorted(shares, key=lambda pair: (-pair[1], pair[0]))
    return found


_CURRENT = "SELECT v.id, v.task_id, t.name FROM versions v JOIN tasks t ON v.id = t.current_version_id ORDER BY v.id"
_MEASURED = """
    SELECT m.after_version_id, a.version_id, a.accuracy FROM accuracies a JOIN measurements m ON a.measurement_id = m.id
    WHERE a.mode = ? AND m.after_version_id IN (SELECT current_version_id FROM tasks) ORDER BY m.id"""
_ROUTED = """
    SELECT version_id, CAST(routed AS TEXT) FROM accuracies
    WHERE id IN (SELECT max(id) FROM accuracies WHERE mode = 'auto' GROUP BY version_id)"""
