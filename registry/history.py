"""What was measured after which task, and the two tables that the metrics are computed from.

Row i of the matrix is what was measured after task i's current version had been learned; measuring again
later adds to the row of the task learned last by then, and within a row the newest value of a cell counts.
A value belongs to the version that was measured: after `commit(replace=True)` or `rollback` only values of
versions that are current count, and a removed task leaves with its row and column. What remains is a
history that could have happened.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from cl_ast.errors import RegistryError
from registry import rows
from registry.models import AccuracyRow, MeasurementRow, TaskRow, VersionRow
from registry.records import Accuracy, Measurement, Mode


def record(session: Session, measured: Sequence[Accuracy], after_version_id: int) -> int:
    """Keep `measured`, and return the id of the measurement. Raises TaskNotFoundError, RegistryError."""
    if not measured:
        raise RegistryError("nothing was measured, so there is nothing to record")
    ids = {name: _ids(session, name) for item in measured for name in (item.task, *item.routed)}
    if len({(ids[item.task], item.mode) for item in measured}) != len(measured):
        raise RegistryError("a task was measured twice in the same mode; which of the two counts?")
    measurement = MeasurementRow(after_version_id=after_version_id, created=datetime.now(UTC))
    session.add(measurement)
    session.flush()
    session.add_all(
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
    session.flush()
    return measurement.id


def last_learned(session: Session) -> int:
    """Id of the current version that was learned last. Raises RegistryError where there is none."""
    learned = list(_places(session))
    if not learned:
        raise RegistryError("the registry holds no task yet, so nothing can have been measured")
    return learned[-1]


def current_version_id(session: Session, name: str) -> int:
    return _ids(session, name)[1]


def measurements(session: Session, only: int | None = None) -> list[Measurement]:
    """Every measurement, or the one of that id, oldest first."""
    task_names = {str(id): name for id, name in session.execute(select(TaskRow.id, TaskRow.name))}
    found = select(AccuracyRow, TaskRow.name).join(VersionRow, AccuracyRow.version_id == VersionRow.id)
    found = found.join(TaskRow, VersionRow.task_id == TaskRow.id).order_by(AccuracyRow.id)
    heads = (
        select(MeasurementRow, TaskRow.name)
        .join(VersionRow, MeasurementRow.after_version_id == VersionRow.id, isouter=True)
        .join(TaskRow, VersionRow.task_id == TaskRow.id, isouter=True)
        .order_by(MeasurementRow.id)
    )
    if only is not None:
        found = found.where(AccuracyRow.measurement_id == only)
        heads = heads.where(MeasurementRow.id == only)
    accuracies: dict[int, list[Accuracy]] = defaultdict(list)
    for row, name in session.execute(found):
        routed = {task_names[id]: clips for id, clips in row.routed.items() if id in task_names}
        mode: Mode = "auto" if row.mode == "auto" else "oracle"
        accuracies[row.measurement_id].append(Accuracy(name, mode, row.accuracy, row.clips, routed))
    return [
        Measurement(row.id, after, row.after_version_id, row.created, tuple(accuracies[row.id]))
        for row, after in session.execute(heads)
        if row.id in accuracies  # nothing is left of one whose tasks were all removed
    ]


def matrix(session: Session, mode: Mode) -> list[list[float | None]]:
    """Accuracy on the task of column j, measured after that of row i; None above the diagonal."""
    place = _places(session)
    cells: list[list[float | None]] = [[None] * len(place) for _ in place]
    found = (
        select(MeasurementRow.after_version_id, AccuracyRow.version_id, AccuracyRow.accuracy)
        .join(MeasurementRow, AccuracyRow.measurement_id == MeasurementRow.id)
        .where(AccuracyRow.mode == mode, MeasurementRow.after_version_id.in_(select(TaskRow.current_version_id)))
        .order_by(MeasurementRow.id)
    )
    for after, version, accuracy in session.execute(found):
        i, j = place[after or 0], place.get(version, -1)
        if 0 <= j <= i:
            cells[i][j] = accuracy
    return cells


def confusion(session: Session) -> list[list[int]]:
    """Test clips of the task of row i that were last routed to the task of column j."""
    place = _places(session)
    cells = [[0] * len(place) for _ in place]
    column = {str(id): j for j, id in enumerate(session.scalars(_current(VersionRow.task_id)))}
    newest = select(func.max(AccuracyRow.id)).where(AccuracyRow.mode == "auto").group_by(AccuracyRow.version_id)
    found = select(AccuracyRow.version_id, AccuracyRow.routed).where(AccuracyRow.id.in_(newest))
    for version, routed in session.execute(found):
        if version in place:
            for id, clips in routed.items():
                if id in column:
                    cells[place[version]][column[id]] = clips
    return cells


def _ids(session: Session, name: str) -> tuple[int, int]:
    """Of a task and of its current version."""
    task = rows.require(session, name)
    return task.id, task.current_version_id


def _current(column: InstrumentedAttribute[int]) -> Select[Any]:
    """That column of every current version, in learning order."""
    joined = select(column).select_from(VersionRow).join(TaskRow, VersionRow.task_id == TaskRow.id)
    return joined.where(VersionRow.id == TaskRow.current_version_id).order_by(VersionRow.id)


def _places(session: Session) -> dict[int, int]:
    """Where each current version stands in the order of learning, by its id."""
    return {id: place for place, id in enumerate(session.scalars(_current(VersionRow.id)))}
