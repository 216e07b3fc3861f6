"""Exports tasks from a registry and imports them into one, as folders and over the hub; exports them as ONNX."""

import tempfile
from pathlib import Path

from cl_ast.errors import ClAstError
from cl_ast.evaluation.statistics import stats
from cl_ast.inference.session import Session
from cl_ast.sharing import hub
from cl_ast.sharing.accept import accept, known_backbone, known_precision
from cl_ast.sharing.folder import read, write
from cl_ast.sharing.onnx_file import write_onnx
from cl_ast.tasks.task_file import to_bytes
from registry import TaskRecord

FORMATS = ("folder", "onnx")


def export(session: Session, name: str, path: Path, format: str = "folder") -> Path:
    """Write a task as a folder or an ONNX file, as `Manager.export` describes it."""
    if format not in FORMATS:
        raise ClAstError(f"no format called {format!r} to export to; there are {' and '.join(FORMATS)}")
    record = session.registry.task(name)
    if format == "onnx":
        facts = {"version": str(record.version.number), "sha256": record.version.adapter_sha256}
        return write_onnx(session.model(record.name), path, facts)
    data = session.registry.read_adapter(record.version)
    rows = {row["name"]: row for row in stats(session.registry)["tasks"]}
    return write(path, data, auto=rows[record.name]["auto_accuracy"], methods=session.methods)


def import_(session: Session, folder: Path, name: str | None, replace: bool) -> TaskRecord:
    """Import a task from a folder, as `Manager.import_` describes it."""
    incoming = read(folder)
    session.suggest_backbone(known_backbone(incoming), known_precision(incoming))
    task, new = accept(incoming, session.backbone, name, session.methods)
    free = session.free_name(task.model.settings.name, replace=replace)
    session.routing.keep_space()
    data = to_bytes(task.model, session.backbone, {}, {})
    return session.registry.commit(free, data, new, replace=replace)


def push(session: Session, name: str, repository: str, public: bool, endpoint: str | None) -> str:
    """Export a task to the hub, as `Manager.push` describes it."""
    with tempfile.TemporaryDirectory() as place:
        return hub.push(export(session, name, Path(place) / "task"), repository, public=public, endpoint=endpoint)
