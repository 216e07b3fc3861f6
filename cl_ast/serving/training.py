"""POST /v1/trainings: a zip of class folders becomes a task, trained in a process of its own beside the engine."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

import streams
from cl_ast.errors import ClAstError, StreamError
from cl_ast.manager import Manager
from cl_ast.progress import Step
from cl_ast.serving.error_refusals import without_places
from cl_ast.serving.jobs import Job, started
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.schemas import JobState
from cl_ast.serving.service import Service
from cl_ast.serving.tasks import changing, public_name, require_changes
from cl_ast.serving.uploads import BODY, Upload, only
from streams.catalog import Limit
from streams.unpack import unpack

_TIMES = 4  # as many bytes as an upload may have, when it is unpacked
_MOST_FILES = 20_000
_CLIPS, _NEGATIVES = "clips", "negatives"  # the folders of a zip of reviewed events
_OFTEN = 0.1  # seconds from one message about a stage to the next

Message = tuple[str, Any]  # "step" and the step, "done", or the code of a refusal and its words


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be trained, and how the service has opened its registry.

    Attributes:
        folder: where the zip was unpacked.
    """

    location: str
    backbone: str
    device: str
    folder: Path
    name: str
    replace: bool


def routes(service: Service) -> APIRouter:
    """Return the endpoint that trains."""
    router = APIRouter()
    busy = False

    @router.post("/v1/trainings", status_code=202, response_model=JobState, openapi_extra=BODY)
    async def train(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=200, description="What to call the task.")],
        replace: Annotated[bool, Query(description="Make it the next version of a task of that name.")] = False,
    ) -> JSONResponse:
        """Train a task of a zip with a folder of clips for each label, as a job; one at a time."""
        nonlocal busy
        require_changes(service)
        service.jobs.require_room()
        if busy:
            raise Refusal("overloaded", "another task is being trained; try again", 10.0)
        location = service.settings.location
        folder = service.spool.place(f"training-{time.monotonic_ns()}")

        def wanted_of(manager: Manager) -> Wanted:
            with changing(manager):
                free = manager.session.free_name(name, replace=replace)
            return Wanted(location, manager.backbone.name, str(manager.session.device), folder, free, replace)

        def cleanup() -> None:
            nonlocal busy
            busy = False
            shutil.rmtree(folder, ignore_errors=True)

        busy = True
        try:
            wanted = await service.on_engine(wanted_of)
            async with service.uploads(request, service.deadline()) as uploads:
                limit = Limit(_TIMES * service.settings.most_bytes, _MOST_FILES)
                await run_in_threadpool(unpack_upload, only(uploads), folder, limit)
        except BaseException:
            cleanup()
            raise
        job = service.jobs.start(lambda job: _follow(wanted, job), cleanup)
        return started(job)

    return router


def unpack_upload(upload: Upload, folder: Path, limit: Limit) -> None:
    """Unpack a zip into a new folder. Raises Refusal with the reason, in which no place of this machine is named."""
    archive = folder.with_suffix(".zip")
    try:
        upload.write(archive)
        unpack(archive, folder, limit)
    except StreamError as error:
        message = without_places(str(error), {str(archive): upload.name})
        raise Refusal("invalid", message.partition("; ")[0]) from None  # its advice is for a download
    finally:
        archive.unlink(missing_ok=True)


async def _follow(wanted: Wanted, job: Job) -> None:
    """Train in a new process, and take note of how far it is; it ends with the job."""
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(wanted, sending), name="cl-ast-trains", daemon=True)
    process.start()
    sending.close()
    try:
        while True:
            kind, what = await run_in_threadpool(_received, receiving)
            if kind == "done":
                return
            if kind != "step":
                raise Refusal(kind, what)
            job.advance(what)
    finally:
        process.kill()
        await run_in_threadpool(process.join)
        receiving.close()


def _received(connection: Connection) -> Message:
    try:
        message: Message = connection.recv()
    except EOFError:
        raise Refusal(
            "internal", "the training has ended without a result; the service's machine may lack memory"
        ) from None
    return message


# In the process that trains


def _train(wanted: Wanted, connection: Connection) -> None:
    try:
        connection.send(_outcome(wanted, _telling(connection)))
    except (BrokenPipeError, KeyboardInterrupt):
        return  # the service has ended


def _outcome(wanted: Wanted, progress: Callable[[Step], None]) -> Message:
    clips, negatives = wanted.folder / _CLIPS, wanted.folder / _NEGATIVES
    is_reviewed = clips.is_dir() and {one.name for one in wanted.folder.iterdir()} <= {_CLIPS, _NEGATIVES}
    try:
        task = streams.load(clips if is_reviewed else _top(wanted.folder), name=wanted.name)
        with Manager.open(wanted.location, backbone=wanted.backbone, device=wanted.device, create=False) as manager:
            manager.add_task(
                task,
                replace=wanted.replace,
                negatives=negatives if is_reviewed and negatives.is_dir() else None,
                progress=progress,
            )
            return "done", None
    except ClAstError as error:
        places = {str(wanted.folder): "the zip", wanted.location: "the registry"}
        return "invalid", without_places(str(error), {**places, wanted.backbone: public_name(wanted.backbone)})


def _top(folder: Path) -> Path:
    """Return the folder of class folders: a zip of one folder often has it around them."""
    inside = list(folder.iterdir())
    is_around = len(inside) == 1 and inside[0].is_dir() and any(one.is_dir() for one in inside[0].iterdir())
    return inside[0] if is_around else folder


def _telling(connection: Connection) -> Callable[[Step], None]:
    """Return what passes the progress on: every stage, and within a stage not more often than people read."""
    stage, told = "", 0.0

    def tell(step: Step) -> None:
        nonlocal stage, told
        if step.stage != stage or time.monotonic() - told > _OFTEN:
            stage, told = step.stage, time.monotonic()
            connection.send(("step", {name: value for name, value in asdict(step).items() if value is not None}))

    return tell
