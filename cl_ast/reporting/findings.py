"""Gathers all that a report says of a registry, and records nothing, so that a registry may be read-only."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from cl_ast.backbone import pretrained
from cl_ast.environment import package_versions
from cl_ast.errors import ClAstError
from cl_ast.evaluation.accuracy import Measured, measure
from cl_ast.evaluation.details import Details, Share
from cl_ast.evaluation.statistics import report
from cl_ast.evaluation.tag_details import TagDetails
from cl_ast.inference.session import Session
from cl_ast.manager import Manager
from cl_ast.progress import Progress, silent
from cl_ast.reporting.joint import Joint, read_joint
from cl_ast.reporting.unknown import UnknownShare, unknown_shares
from cl_ast.reporting.wrong_clips import WrongClip, most_confident
from cl_ast.sharing.card import command
from cl_ast.sharing.public_facts import backbone_name, public
from cl_ast.tasks.kind_names import ACCURACY, MAP
from cl_ast.tasks.source import reload_version
from cl_ast.tasks.task_file import from_bytes
from registry import TaskRecord, header


@dataclass(frozen=True, slots=True)
class Run:
    """How a task was trained, without what names a person, a folder or a machine.

    Attributes:
        command: trains it again; its folder of clips is written as `path/to/clips`.
        protocol: how its clips were split, in words.
        packages: the versions that it was trained with.
    """

    command: str
    protocol: str
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Loading:
    """Seconds until a model can answer, once the libraries are loaded.

    Attributes:
        task: the median over the tasks, read from the registry onto the backbone that is in memory.
        full_copy: the backbone, as every task would be if it were a copy of its own.
    """

    task: float
    full_copy: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a report says.

    Attributes:
        name: of the registry's folder or database.
        backbone: its name, or "local-backbone" where that is a folder.
        stats: what `cl-ast stats --format json` says.
        tasks: in the order in which they were learned.
        runs: how each task was trained, by name; a task whose file cannot be read has none.
        details: of each task of classes that could be measured now.
        tags: of each task of tags that could be.
        skipped: the other tasks with the reason, which may name a folder and is not for the page.
        unknown: the tasks' own clips, silence, noise and left-out tasks; empty where there is no router.
        clips: the most confidently wrong ones.
        loading: None where a task or the backbone cannot be loaded.
        joint: joint training on the same tasks, by the mode to compare it with; empty where none is wanted.
        device: on which it was measured.
        versions: of the packages that measured it.
        moment: when, in UTC.
    """

    name: str
    backbone: str
    stats: Mapping[str, Any]
    tasks: Sequence[TaskRecord]
    runs: Mapping[str, Run]
    details: Sequence[Details]
    tags: Sequence[TagDetails]
    skipped: Mapping[str, str]
    unknown: Sequence[UnknownShare]
    clips: Sequence[WrongClip]
    loading: Loading | None
    joint: Mapping[str, Joint]
    device: str
    versions: Mapping[str, str]
    moment: datetime


def gather(
    manager: Manager, *, with_audio: bool = False, joint: Path | None = None, progress: Progress = silent
) -> Findings:
    """Measure every task on its test clips, and gather this with what the registry recorded.

    What cannot be measured, because recordings have moved or the backbone is not here, is left out and said.

    Args:
        with_audio: keep the sound of the clips that are most confidently wrong.
        joint: the folder with the results of joint training, as `read_joint` takes it.

    Raises:
        ClAstError: there is no task, or `read_joint` refuses the folder.
        RegistryError: the registry cannot be read.
    """
    session = manager.session
    overview = session.registry.overview()
    if not overview.tasks:
        raise ClAstError(f"{session.registry.place} has no task to report on; teach one with: cl-ast add-task TASK")
    joint_training = {} if joint is None else read_joint(joint, overview)
    measured, skipped = _measured(session, overview.tasks, progress)
    details = [Details(one) for one in measured if one.metric == ACCURACY]
    return Findings(
        name=Path(session.registry.place.partition("?")[0]).name,
        backbone=backbone_name(overview.backbone.name) if overview.backbone else "",
        stats=report(overview),
        tasks=overview.tasks,
        runs={task.name: run for task in overview.tasks if (run := _run(session, task)) is not None},
        details=details,
        tags=[TagDetails(one) for one in measured if one.metric == MAP],
        skipped=skipped,
        unknown=_unknown(session, measured, progress),
        clips=most_confident(session, details, with_audio=with_audio),
        loading=_loading(session, overview.tasks) if measured else None,
        joint=joint_training,
        device=session.device.type,
        versions=package_versions(),
        moment=datetime.now(UTC),
    )


def _measured(
    session: Session, tasks: Sequence[TaskRecord], progress: Progress
) -> tuple[list[Measured], dict[str, str]]:
    """Return what each task was measured to be, and the tasks that cannot be measured with the reason."""
    measured, skipped = [], {}
    try:
        router = session.routing.router()
    except ClAstError:  # no task can be routed to, or there is no backbone: then no task below can be measured either
        router = None
    for task in tasks:
        try:
            clips = reload_version(session.registry, task.version).test
            measured.append(measure(session, task.name, clips, router, progress))
        except ClAstError as error:
            skipped[task.name] = str(error)
    return measured, skipped


def _unknown(session: Session, measured: Sequence[Measured], progress: Progress) -> list[UnknownShare]:
    places = {one.task: [outcome.clip.place for outcome in one.outcomes] for one in measured}
    routed = [one for one in measured if one.routed is not None]
    own = Share(sum(one.declined for one in routed), sum(one.clips for one in routed))
    found = [UnknownShare("test clips of the tasks", False, own)] if routed else []
    try:
        return found + unknown_shares(session, places, progress)
    except ClAstError:  # there is no router, or a task cannot answer; the page says so
        return found


def _run(session: Session, task: TaskRecord) -> Run | None:
    try:
        facts = public(header.read(session.registry.read_adapter(task.version)).description())
    except (ClAstError, KeyError):
        return None
    return Run(command(facts), facts["protocol"], facts["packages"])


def _loading(session: Session, tasks: Sequence[TaskRecord]) -> Loading | None:
    moments = [time.perf_counter()]
    try:
        for task in tasks:
            from_bytes(session.registry.read_adapter(task.version), session.backbone, session.methods, session.shared)
            moments.append(time.perf_counter())
        pretrained.load(session.backbone_name, device=session.device, precision=session.backbone_precision)
    except ClAstError:
        return None
    each = [after - before for before, after in pairwise(moments)]
    return Loading(statistics.median(each), time.perf_counter() - moments[-1])
