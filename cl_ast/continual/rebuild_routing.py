"""Routing learned anew, for tasks that another release of cl-ast learned: the same adapter, a new version."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streams
from cl_ast.backbone.device import package_versions
from cl_ast.errors import AudioError, StreamError
from cl_ast.inference.routing import Routes
from cl_ast.inference.session import Held
from cl_ast.progress import Report
from cl_ast.tasks.task_file import to_bytes
from registry import TaskRecord


def relearn(held: Held, routes: Routes, records: Sequence[TaskRecord], report: Report) -> dict[str, str]:
    """As `Manager.route` says. Each task is committed by itself: what stops it loses no other."""
    routes.keep_space()
    skipped = {}
    for record in records:
        version = record.version
        try:
            task = streams.reload(source_of(version.source))
            tensors = routes.learn(task, held.stored(record.name).model, version.seed, report).tensors()
        except (StreamError, AudioError) as error:
            skipped[record.name] = str(error)
            if not routes.is_stale(version):
                continue
            tensors = {}
        stored = held.stored(record.name)
        held.registry.commit(
            record.name,
            to_bytes(stored.model, held.backbone, {}, tensors),
            replace(version.facts(), packages=package_versions()),
            replace=True,
        )
    return skipped


def source_of(stored: Mapping[str, object]) -> streams.Source:
    """Where a task's clips are. Raises StreamError where they did not come along."""
    if "imported" in stored:
        raise StreamError("it was imported, and the clips that it was learned from did not come along")
    return streams.Source.from_json(stored)
