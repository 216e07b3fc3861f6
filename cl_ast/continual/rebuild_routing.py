"""Rebuilds the routing of tasks: each keeps its adapter, and becomes a new version with new routing."""

from collections.abc import Sequence
from dataclasses import replace

from cl_ast.continual.learn_routing import learn_routing
from cl_ast.continual.training_record import routing_record
from cl_ast.environment import package_versions
from cl_ast.errors import AudioError, StreamError
from cl_ast.inference.session import Session
from cl_ast.progress import Progress
from cl_ast.tasks.source import reload_version
from cl_ast.tasks.task_file import split_in, to_bytes
from registry import TaskRecord


def rebuild_routing(session: Session, records: Sequence[TaskRecord], progress: Progress) -> dict[str, str]:
    """Rebuild the routing of tasks. Each is committed by itself, so that stopping loses no task that is done.

    Returns the tasks whose clips are not at hand, with the reason. Those of them whose routing is of another release
    lose it, and answer by name only.
    """
    session.routing.keep_space()
    skipped = {}
    for record in records:
        version = record.version
        stored = session.task(record.name)
        facts = replace(version.facts(), packages=package_versions())
        try:
            task = reload_version(session.registry, version)
            routing = learn_routing(session, task, stored.model, version.seed, progress)
        except (StreamError, AudioError) as error:
            skipped[record.name] = str(error)
            if not session.routing.is_stale(version):
                continue
            tensors = {}
        else:
            tensors = routing.tensors()
            facts = replace(facts, training={**version.training, "routing": routing_record(routing)})
        split = {name: sorted(members) for name, members in split_in(session.registry.read_adapter(version)).items()}
        data = to_bytes(stored.model, session.backbone, {}, tensors, split)
        session.registry.commit(record.name, data, facts, replace=True)
    return skipped
