"""Exports tasks from a registry and imports them into one, as folders and over the hub; exports them as ONNX."""

import tempfile
from dataclasses import replace
from pathlib import Path

from cl_ast.errors import ClAstError
from cl_ast.evaluation.statistics import stats
from cl_ast.inference.session import Session
from cl_ast.sharing import hub
from cl_ast.sharing.accept import accept, known_backbone, known_precision
from cl_ast.sharing.folder import read, write
from cl_ast.sharing.onnx_file import write_onnx
from cl_ast.tasks.task_file import StoredTask, to_bytes
from cl_ast.tasks.task_model import TaskModel
from registry import TaskRecord

FORMATS = ("folder", "onnx")


def export(session: Session, name: str, path: Path, format: str = "folder", *, unshared: bool = False) -> Path:
    """Write a task as a folder or an ONNX file, as `Manager.export` describes it.

    Args:
        unshared: write a task that reads a shared part as the ordinary method that it acts as, which needs none. An
            ONNX file never needs one.
    """
    if format not in FORMATS:
        raise ClAstError(f"no format called {format!r} to export to; there are {' and '.join(FORMATS)}")
    record = session.registry.task(name)
    if format == "onnx":
        facts = {"version": str(record.version.number), "sha256": record.version.adapter_sha256}
        return write_onnx(session.model(record.name), path, facts)
    if unshared and record.version.shared is not None:
        data, sha256 = _acting(session, session.version(name, record.version)), None
    else:
        data, sha256 = session.registry.read_adapter(record.version), record.version.shared
    rows = {row["name"]: row for row in stats(session.registry)["tasks"]}
    shared = None if sha256 is None else session.registry.read_shared(sha256)
    return write(path, data, auto=rows[record.name]["auto_accuracy"], methods=session.methods, shared=shared)


def _acting(session: Session, task: StoredTask) -> bytes:
    """Return the file of a task with the ordinary method that it acts as in place of its own."""
    model = task.model
    acting = model.adapter.acting
    settings = replace(model.settings, method=acting.spec, shared=None)
    ordinary = TaskModel(settings, model.backbone, acting, model.head)
    own = {"method", "shared", "trainable_parameters"}
    facts = {key: value for key, value in task.header.items() if key not in own}
    return to_bytes(ordinary, session.backbone, facts, task.router)


def import_(session: Session, folder: Path, name: str | None, replace: bool) -> TaskRecord:
    """Import a task from a folder, as `Manager.import_` describes it."""
    incoming = read(folder)
    session.suggest_backbone(known_backbone(incoming), known_precision(incoming))
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
