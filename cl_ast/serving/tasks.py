"""What is there: the tasks of the registry; with --allow-changes, importing and removing them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cl_ast.errors import MethodError, RegistryError, TaskExistsError
from cl_ast.evaluation.shown_accuracy import countable_test_clips, counted, in_sentence
from cl_ast.evaluation.statistics import outline, stats
from cl_ast.inference.prediction import AUTO
from cl_ast.manager import Manager
from cl_ast.reporting.over_time import moments
from cl_ast.serving.error_refusals import without_places
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.schemas import Models, TaskAnswer, Tasks
from cl_ast.serving.service import Service
from cl_ast.serving.uploads import FORM, Upload
from cl_ast.sharing.folder import ADAPTER, CONFIG, README, TASK
from cl_ast.tasks.kind_names import ACCURACY, metric_of
from cl_ast.tasks.length import recorded_seconds
from cl_ast.tasks.origin import by_name_only
from registry import Registry, TaskRecord

_FILES = (ADAPTER, CONFIG, TASK, README)


def routes(service: Service) -> APIRouter:
    """Return the endpoints about tasks. Those that only read the registry run in threads, beside the engine."""
    router = APIRouter()
    registry = service.registry

    @router.get("/v1/models", response_model=Models)
    def models() -> dict[str, Any]:
        """List the tasks as models, as clients of other servers expect it."""
        records, parent = registry.tasks(), _backbone(registry)
        found = [_model(one.name, one.created.timestamp(), parent, f"sha256:{_sha256(one)}") for one in records]
        routed = [one.created.timestamp() for one in records if not by_name_only(one.version)]
        return {"data": found + ([_model(AUTO, max(routed), parent, None)] if routed else [])}

    @router.get("/v1/tasks", response_model=Tasks)
    def tasks() -> dict[str, Any]:
        """List the tasks with what is known of them."""
        rows, backbone = _rows(registry), _backbone(registry)
        return {
            "tasks": [_task(one, rows.get(one.name, {}), backbone) for one in registry.tasks()],
            "changes": service.settings.allow_changes,
        }

    @router.get("/v1/tasks/{name}", response_model=TaskAnswer)
    def task(name: str, response: Response) -> dict[str, Any]:
        """Return what is known of a task."""
        found = registry.task(name)
        response.headers["ETag"] = f'"{_sha256(found)}"'
        return _task(found, _rows(registry).get(found.name, {}), _backbone(registry))

    @router.get("/v1/stats")
    def statistics() -> dict[str, Any]:
        """Return the accuracy matrix, forgetting, routing and storage, as `cl-ast stats --format json` prints them."""
        found = stats(registry)
        if found["backbone"] is not None:
            found["backbone"]["name"] = _backbone(registry)
        return found

    @router.get("/v1/retention")
    def retention() -> dict[str, Any]:
        """Return `stats`, its accuracies for people, and the average accuracy and forgetting after each task."""
        found = statistics()
        return {"stats": found, "shown": _shown(found), "moments": [asdict(one) for one in moments(found)]}

    @router.post(
        "/v1/tasks",
        status_code=201,
        response_model=TaskAnswer,
        openapi_extra=FORM,
    )
    async def add(
        request: Request,
        name: Annotated[str | None, Query(max_length=200, description="What to call the task.")] = None,
        replace: Annotated[bool, Query(description="Make it the next version of a task of that name.")] = False,
    ) -> JSONResponse:
        """Import a task: the files of the folder that `cl-ast export` wrote. It answers by name only."""
        require_changes(service)
        deadline = service.deadline()
        async with service.uploads(request, deadline) as uploads:
            with service.spool.folder() as folder:
                _write(uploads, folder)
                # It is not given up halfway: the client has to know whether the task is there.
                record = await service.on_engine(lambda one: _import(one, folder, name, replace))
        return JSONResponse(_task(record, {}, _backbone(registry)), 201)

    @router.delete("/v1/tasks/{name}", status_code=204)
    def remove(name: str) -> Response:
        """Remove a task; `cl-ast undo` takes it back for 30 days."""
        require_changes(service)
        registry.remove(name)
        return Response(status_code=204)

    return router


def _rows(registry: Registry) -> dict[str, Mapping[str, Any]]:
    """Return what `stats` says of each task, by its name, without its tables of tasks by tasks."""
    return {row["name"]: row for row in outline(registry.overview())["tasks"]}


def _shown(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accuracies of a report as text: of each task by name and routed, and in the matrix."""
    each = [
        (task, countable_test_clips(task), "" if task["metric"] == ACCURACY else f" {task['metric']}")
        for task in report["tasks"]
    ]
    return {
        "tasks": [
            [in_sentence(task[mode], n) + unit for mode in ("accuracy", "auto_accuracy")] for task, n, unit in each
        ],
        "matrix": {
            mode: [
                ["" if one is None else counted(one, n) + unit for one, (_, n, unit) in zip(row, each, strict=True)]
                for row in rows
            ]
            for mode, rows in report["matrix"].items()
        },
    }


def _model(name: str, created: float, parent: str | None, root: str | None) -> dict[str, Any]:
    return {"id": name, "created": int(created), "parent": parent, "root": root}


def _task(record: TaskRecord, row: Mapping[str, Any], backbone: str | None) -> dict[str, Any]:
    return {
        "name": record.name,
        "labels": list(record.labels),
        "method": record.version.method,
        "version": record.version.number,
        "sha256": _sha256(record),
        "backbone": backbone,
        "seconds": recorded_seconds(record.version),
        "learned": record.version.created.isoformat(),
        "by_name_only": by_name_only(record.version),
        "metric": metric_of(record.version),
        "accuracy": row.get("accuracy"),
        "auto_accuracy": row.get("auto_accuracy"),
    }


def _sha256(record: TaskRecord) -> str:
    return record.version.adapter_sha256


def _backbone(registry: Registry) -> str | None:
    """Return the backbone's name; of a folder the last part, since the others are of this machine."""
    known = registry.backbone
    return None if known is None else public_name(known.name)


def public_name(backbone: str) -> str:
    """Return the name of a backbone as anybody may see it."""
    return Path(backbone).name if Path(backbone).is_absolute() else backbone


def require_changes(service: Service) -> None:
    """Raise Refusal where tasks cannot be changed."""
    if not service.settings.allow_changes:
        raise Refusal("forbidden", "tasks cannot be changed here: the service runs without --allow-changes")


def _write(uploads: list[Upload], folder: Path) -> None:
    """Write the files of an exported task into a folder, under the names that such files have."""
    for upload in uploads:
        if upload.name not in _FILES or (folder / upload.name).exists():
            raise Refusal(
                "invalid", f"{upload.name}: send the files of an exported task, {', '.join(_FILES)}, each once"
            )
        upload.write(folder / upload.name)


@contextmanager
def changing(manager: Manager, places: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
    """Raise Refusal, with the reason, where the registry does not take a change inside the block.

    Args:
        places: the public names of other places of this machine than those of the registry and the backbone.
    """
    try:
        yield
    except TaskExistsError:
        raise Refusal(
            "conflict", "a task of that name is there already; choose another name, or replace it with replace=true"
        ) from None
    except (RegistryError, MethodError) as error:
        backbone = manager.session.backbone_name
        known = {manager.registry.place: "the registry", backbone: public_name(backbone)}
        raise Refusal("invalid", without_places(str(error), {**places, **known})) from None


def _import(manager: Manager, folder: Path, name: str | None, replace: bool) -> TaskRecord:
    with changing(manager, {str(folder): "the upload"}):
        return manager.import_(folder, name=name, replace=replace)
