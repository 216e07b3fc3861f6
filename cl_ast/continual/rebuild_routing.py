"""Rebuilds the routing of tasks: each keeps its adapter, and becomes a new version with new routing."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from cl_ast.continual.learn_routing import learn_routing
from cl_ast.continual.negatives import NegativeClips, negatives_in
from cl_ast.continual.routing_clips import (
    RoutingClips,
    clips_in,
    clips_of,
    clips_of_import,
    recorded_folder,
    recorded_negatives,
)
from cl_ast.continual.training_record import routing_record, with_alpha
from cl_ast.environment import package_versions
from cl_ast.errors import AudioError, NotFiniteError, RegistryError, StreamError
from cl_ast.inference.session import Session
from cl_ast.progress import ClAstWarning, Progress
from cl_ast.router import TaskRouting, checked_alpha
from cl_ast.router.calibration import lowest_p
from cl_ast.tasks.length import KEY
from cl_ast.tasks.origin import by_name_only, how_to_route, is_imported, routing_of, with_own_routing
from cl_ast.tasks.source import reload_version
from cl_ast.tasks.task_file import split_in, to_bytes
from registry import TaskRecord, VersionRecord


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is to change in how a task tells its clips from others. Raises RegistryError for a limit that cannot be one.

    Attributes:
        alpha: the p-value below which a clip is unknown; None keeps the task's.
        negatives: a folder of sounds that are none of the task's classes; None keeps the task's.
        drop_negatives: whether the task is to have no negatives.
    """

    alpha: float | None = None
    negatives: Path | None = None
    drop_negatives: bool = False

    def __post_init__(self) -> None:
        if self.alpha is not None:
            object.__setattr__(self, "alpha", checked_alpha(self.alpha))

    @property
    def of_limit_only(self) -> bool:
        """Whether nothing has to be learned."""
        return self.alpha is not None and self.negatives is None and not self.drop_negatives


def route(
    session: Session,
    records: Sequence[TaskRecord],
    tuning: Tuning,
    progress: Progress,
    *,
    clips: str | Path | None,
    named: bool,
) -> dict[str, str]:
    """Rebuild the routing of tasks, or change their limit alone, as `Manager.route` describes it.

    Args:
        named: whether the user named these tasks.
    """
    if clips is not None:
        if len(records) != 1 or not named:
            raise RegistryError("a folder of clips is for the routing of one task; name that task")
        _rebuild(session, records[0], clips_in(Path(clips), records[0].version.seed), tuning, progress)
        return {}
    if tuning.alpha is not None and tuning.of_limit_only:
        return set_limit(session, records, tuning.alpha)
    return rebuild_routing(session, records, tuning, progress, named=named)


def rebuild_routing(
    session: Session, records: Sequence[TaskRecord], tuning: Tuning, progress: Progress, *, named: bool
) -> dict[str, str]:
    """Rebuild the routing of tasks. Each is committed by itself, so that stopping loses no task that is done.

    Returns the tasks whose clips are not at hand, with the reason. Those of them whose routing cannot be used lose it,
    and answer by name only.

    Args:
        named: whether the user named these tasks. An imported task gets its first routing here only then, because
            what its file says of its clips may be wrong.

    Raises:
        StreamError: the folder of negatives that was given cannot be read; nothing is changed.
    """
    if tuning.negatives is not None:
        negatives_in(tuning.negatives)
    skipped = {}
    for record in records:
        try:
            clips = _clips(session, record, named)
            _rebuild(session, record, clips, tuning, progress)
        except NotFiniteError as error:
            skipped[record.name] = str(error)
        except (StreamError, AudioError) as error:
            skipped[record.name] = str(error)
            if session.routing.is_unusable(record.version):
                recommit(session, record, {}, record.version.source, {"routing": None})
    return skipped


def set_limit(session: Session, records: Sequence[TaskRecord], alpha: float) -> dict[str, str]:
    """Give tasks another limit for "unknown", each as a new version that differs in nothing else.

    Returns the tasks without routing, with the reason.

    Warns:
        ClAstWarning: with that limit no clip is unknown to a task, because too few clips calibrated it.
    """
    routed, skipped = session.routing.tasks(), {}
    for record in records:
        routing = routed.get(record.name)
        if routing is None:
            skipped[record.name] = f"without routing it has no limit; {how_to_route(record.name)} learns its routing"
            continue
        tuned = replace(routing, alpha=alpha)
        _warn_if_nothing_is_unknown(record.name, tuned)
        used = with_alpha(routing_of(record.version), alpha)
        recommit(session, record, tuned.tensors(), record.version.source, {"routing": used})
    return skipped


def _warn_if_nothing_is_unknown(name: str, routing: TaskRouting) -> None:
    lowest = lowest_p(routing.calibration)
    if 0 < routing.alpha <= lowest:
        warnings.warn(
            f"with a limit of {routing.alpha:.2f} no clip is unknown to {name}: too few clips calibrated it; "
            f"{lowest + 0.01:.2f} is the lowest that has an effect",
            ClAstWarning,
            stacklevel=3,
        )


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


def _rebuild(session: Session, record: TaskRecord, clips: RoutingClips, tuning: Tuning, progress: Progress) -> None:
    version = record.version
    alpha = session.routing.alpha_of(version) if tuning.alpha is None else tuning.alpha
    learned = learn_routing(
        session,
        clips,
        session.model(record.name),
        version.seed,
        progress,
        negatives=_negatives(version, tuning),
        alpha=alpha,
    )
    _warn_if_nothing_is_unknown(record.name, learned.routing)
    tensors, used = learned.routing.tensors(), routing_record(learned, clips)
    recommit(session, record, tensors, with_own_routing(version.source), {"routing": used})


def _negatives(version: VersionRecord, tuning: Tuning) -> NegativeClips | None:
    """Return the negatives that are given, or those that the task has. Raises StreamError where they are gone."""
    folder = tuning.negatives or recorded_negatives(version)
    if folder is None or tuning.drop_negatives:
        return None
    try:
        return negatives_in(folder)
    except StreamError as error:
        raise StreamError(f"its negatives: {error}, or leave them out with --no-negatives") from error


def recommit(
    session: Session,
    record: TaskRecord,
    routing: Mapping[str, Tensor],
    source: Mapping[str, object],
    changes: Mapping[str, object],
) -> None:
    """Commit a version with the same adapter and head, whose routing or training record differs.

    Args:
        routing: the tensors of its routing.
        changes: what differs in its training record, such as `routing`, the `routing_record`.
    """
    version = record.version
    session.routing.keep_space()
    split = {name: sorted(members) for name, members in split_in(session.registry.read_adapter(version)).items()}
    model = session.model(record.name)
    data = to_bytes(model, session.backbone, {}, routing, split)
    training = {**version.training, KEY: model.settings.front_end.seconds, **changes}
    facts = replace(version.facts(), packages=package_versions(), source=source, training=training)
    session.registry.commit(record.name, data, facts, replace=True)
