"""Exports tasks from a registry and imports them into one, as folders and over the hub."""

import tempfile
from pathlib import Path

from cl_ast.evaluation.statistics import stats
from cl_ast.inference.session import Session
from cl_ast.sharing import hub
from cl_ast.sharing.accept import accept, known_backbone
from cl_ast.sharing.folder import read, write
from cl_ast.tasks.task_file import to_bytes
from registry import TaskRecord


def export(session: Session, name: str, folder: Path) -> Path:
    """Write a task as a folder, as `Manager.export` describes it."""
    record = session.registry.task(name)
    data = session.registry.read_adapter(record.version)
    rows = {row["name"]: row for row in stats(session.registry)["tasks"]}
    sha256 = record.version.shared
    shared = None if sha256 is None else session.registry.read_shared(sha256)
    return write(folder, data, auto=rows[record.name]["auto_accuracy"], methods=session.methods, shared=shared)


def import_(session: Session, folder: Path, name: str | None, replace: bool) -> TaskRecord:
    """Import a task from a folder, as `Manager.import_` describes it."""
    incoming = read(folder)
    session.suggest_backbone(known_backbone(incoming))
    task, new = accept(incoming, session.backbone, name, session.methods)
    free = session.free_name(task.model.settings.name, replace=replace)
    session.routing.keep_space()
    if incoming.shared is not None:
        session.registry.import_shared(incoming.shared)
    data = to_bytes(task.model, session.backbone, {}, {})
    return session.registry.commit(free, data, new, replace=replace)


def push(session: Session, name: str, repository: str, public: bool, endpoint: str | None) -> str:
    """Export a task to the hub, as `Manager.push` describes it."""
    with tempfile.TemporaryDirectory() as place:
        return hub.push(export(session, name, Path(place) / "task"), repository, public=public, endpoint=endpoint)
