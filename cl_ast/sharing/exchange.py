"""Tasks out of a registry and into one, as folders and over the hub."""

import tempfile
from pathlib import Path

from cl_ast.evaluation.statistics import stats
from cl_ast.inference.routing import Routes
from cl_ast.inference.session import Held
from cl_ast.sharing import hub
from cl_ast.sharing.accept import accept, known_backbone
from cl_ast.sharing.folder import read, write
from cl_ast.tasks.task_file import to_bytes
from registry import TaskRecord


def export(held: Held, name: str, folder: Path) -> Path:
    """As `Manager.export` says."""
    record = held.registry.task(name)
    rows = {row["name"]: row for row in stats(held.registry)["tasks"]}
    data = held.registry.read_adapter(record.version)
    return write(folder, data, auto=rows[record.name]["auto_accuracy"], methods=held.methods)


def import_(held: Held, routes: Routes, folder: Path, name: str | None, replace: bool) -> TaskRecord:
    """As `Manager.import_` says."""
    incoming = read(folder, held.methods)
    if held.asked is None and held.registry.backbone is None:
        held.asked = known_backbone(incoming)
    task, new = accept(incoming, held.backbone, name, held.methods)
    kept = held.name_for(task.model.settings.name, replace)
    routes.keep_space()
    # Routing of another router or release says nothing here: the task then answers by its name only.
    routing = task.router if routes.usable(task.router) else {}
    data = to_bytes(task.model, held.backbone, {}, routing)
    return held.registry.commit(kept, data, new, replace=replace)


def push(held: Held, name: str, repository: str, public: bool, endpoint: str | None) -> str:
    """As `Manager.push` says."""
    with tempfile.TemporaryDirectory() as place:
        return hub.push(export(held, name, Path(place) / "task"), repository, public=public, endpoint=endpoint)
