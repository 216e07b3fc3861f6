"""Rebuilds the routing of tasks: each keeps its adapter, and becomes a new version with new routing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from cl_ast.continual.learn_routing import learn_routing
from cl_ast.continual.routing_clips import RoutingClips, clips_in, clips_of, clips_of_import, recorded_folder
from cl_ast.continual.training_record import routing_record
from cl_ast.environment import package_versions
from cl_ast.errors import AudioError, NotFiniteError, StreamError
from cl_ast.inference.session import Session
from cl_ast.progress import Progress
from cl_ast.tasks.length import KEY
from cl_ast.tasks.origin import by_name_only, how_to_route, is_imported, with_own_routing
from cl_ast.tasks.source import reload_version
from cl_ast.tasks.task_file import split_in, to_bytes
from registry import TaskRecord


def rebuild_routing(
    session: Session, records: Sequence[TaskRecord], progress: Progress, *, named: bool = False
) -> dict[str, str]:
    """Rebuild the routing of tasks. Each is committed by itself, so that stopping loses no task that is done.

    Returns the tasks whose clips are not at hand, with the reason. Those of them whose routing cannot be used lose it,
    and answer by name only.

    Args:
        named: whether the user named these tasks. An imported task gets its first routing here only then, because
            what its file says of its clips may be wrong.
    """
    skipped = {}
    for record in records:
        try:
            clips = _clips(session, record, named)
            _rebuild(session, record, clips, progress)
        except NotFiniteError as error:
            skipped[record.name] = str(error)
        except (StreamError, AudioError) as error:
            skipped[record.name] = str(error)
            if session.routing.is_unusable(record.version):
                _commit(session, record, {}, record.version.source, None)
    return skipped


def route_with(session: Session, record: TaskRecord, folder: Path, progress: Progress) -> None:
    """Learn the routing of a task from the clips of a folder, and make it a new version with the same adapter.

    Raises:
        StreamError, AudioError: the folder or a clip cannot be used; nothing is changed.
        NotFiniteError: the task answers with values that are not numbers; nothing is changed.
    """
    _rebuild(session, record, clips_in(folder, record.version.seed), progress)


def _clips(session: Session, record: TaskRecord, named: bool) -> RoutingClips:
    """Return the clips that the routing was last learned from. Raises StreamError where they are not at hand."""
    version = record.version
    folder = recorded_folder(version)
    if folder is not None:
        return clips_in(folder, version.seed)
    if not is_imported(version.source):
        return clips_of(reload_version(session.registry, version))
    if by_name_only(version) and not named:
        raise StreamError(f"it was imported; {how_to_route(record.name)} learns its routing from clips in DIR")
    return clips_of_import(version)


def _rebuild(session: Session, record: TaskRecord, clips: RoutingClips, progress: Progress) -> None:
    version = record.version
    routing = learn_routing(session, clips, session.model(record.name), version.seed, progress)
    _commit(session, record, routing.tensors(), with_own_routing(version.source), routing_record(routing, clips))


def _commit(
    session: Session,
    record: TaskRecord,
    routing: Mapping[str, Tensor],
    source: Mapping[str, object],
    used: Mapping[str, object] | None,
) -> None:
    """Commit a version that differs in its routing alone, with the `routing_record` of that."""
    version = record.version
    session.routing.keep_space()
    split = {name: sorted(members) for name, members in split_in(session.registry.read_adapter(version)).items()}
    model = session.model(record.name)
    data = to_bytes(model, session.backbone, {}, routing, split)
    training = {**version.training, KEY: model.settings.front_end.seconds, "routing": used}
    facts = replace(version.facts(), packages=package_versions(), source=source, training=training)
    session.registry.commit(record.name, data, facts, replace=True)
