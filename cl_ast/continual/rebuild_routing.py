"""Rebuilds the routing of tasks: each keeps its adapter, and becomes a new version with new routing."""

from collections.abc import Sequence
from dataclasses import replace

import streams
from cl_ast.continual.learn_routing import learn_routing
from cl_ast.continual.training_record import routing_record
from cl_ast.environment import package_versions
from cl_ast.errors import AudioError, StreamError
from cl_ast.inference.session import Session
from cl_ast.progress import Progress
from cl_ast.tasks.source import loadable
from cl_ast.tasks.task_file import to_bytes
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
            task = streams.reload(loadable(version.source))
            routing = learn_routing(session, task, stored.model, version.seed, progress)
        except (StreamError, AudioError) as error:
            skipped[record.name] = str(error)
            if not session.routing.is_stale(version):
                continue
            tensors = {}
        else:
            tensors = routing.tensors()
            facts = replace(facts, training={**version.training, "routing": routing_record(routing)})
        session.registry.commit(record.name, to_bytes(stored.model, session.backbone, {}, tensors), facts, replace=True)
    return skipped
