"""POST /v1/events, and jobs: what sounded from when to when in an upload, at once or in the background."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.audio.windows import Segment
from cl_ast.errors import AudioError, MethodError
from cl_ast.events import Event, EventSettings, ScoredWindow, StreamDetector, WindowScorer, writers
from cl_ast.events.cutting import WindowCutter
from cl_ast.events.recordings import GROUP
from cl_ast.manager import Manager
from cl_ast.serving.decoding import Limits, blocks, named_as_sent
from cl_ast.serving.event_queries import EventsRequest, Format, RecordingQuery
from cl_ast.serving.gate import request_id_of
from cl_ast.serving.jobs import Job
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.schemas import EventsFound, JobState
from cl_ast.serving.service import Service
from cl_ast.serving.uploads import BODY, Upload

T = TypeVar("T")


def routes(service: Service) -> APIRouter:
    """Return the endpoints about events."""
    router, jobs = APIRouter(), service.jobs

    @router.post("/v1/events", response_model=EventsFound, openapi_extra=BODY)
    async def events(request: Request, query: Annotated[EventsRequest, Query()]) -> Response:
        """Find what sounds from when to when in a recording; with another format than json, as text."""
        deadline, settings = service.deadline(), query.settings()
        async with service.uploads(request, deadline) as uploads:
            found: list[Event] = []
            finding = find(service, only(uploads), settings, deadline, lambda some, _: found.extend(some))
            scorer, samples = await service.in_time(request, deadline, finding)
        if query.format != "json":
            text = text_of(writers.Found(uploads[0].name, samples, found), scorer.settings, query.format)
            return Response(text, media_type="text/plain")
        answer = {"id": request_id_of(request), "events": [event_json(one) for one in found if not one.why]}
        return JSONResponse(answer | {"settings": _shown(scorer.settings), "left_out": scorer.left_out})

    @router.post("/v1/jobs", status_code=202, response_model=JobState, openapi_extra=BODY)
    async def start(request: Request, query: Annotated[RecordingQuery, Query()]) -> JSONResponse:
        """Find the events of a long recording in the background."""
        settings = query.settings()
        if not service.settings.jobs:
            raise Refusal("forbidden", "there are no jobs with several replicas, which do not know each other's")
        jobs.require_room()
        async with service.uploads(request, service.deadline()) as uploads:
            upload = service.spool.kept(only(uploads))
            job = jobs.start(lambda job: _work(service, upload, settings, job), upload.delete, settings.task)
        return JSONResponse(job.to_json(), 202, {"Location": f"/v1/jobs/{job.id}"})

    @router.get("/v1/jobs/{job}", response_model=JobState)
    async def state(job: str) -> dict[str, Any]:
        """Return how far a job is, and its events so far."""
        found = jobs.one(job)
        return found.to_json() | {"events": list(found.events)}

    @router.get("/v1/jobs/{job}/stream", response_class=StreamingResponse)
    async def stream(job: str) -> StreamingResponse:
        """Follow a job by server-sent events: progress and event, and at the end done or error."""
        return StreamingResponse(_lines(jobs.one(job)), media_type="text/event-stream")

    @router.delete("/v1/jobs/{job}", status_code=204)
    async def stop(job: str) -> Response:
        """Stop a job, and forget it."""
        jobs.remove(job)
        return Response(status_code=204)

    return router


async def find(
    service: Service,
    upload: Upload,
    settings: EventSettings,
    deadline: float,
    take: Callable[[Sequence[Event], float], None],
    watch: Callable[[ScoredWindow], None] = lambda _: None,
) -> tuple[WindowScorer, int]:
    """Find the events of an upload, 32 windows at a time, so that others can go between.

    Args:
        take: gets the events that are over, with the rejected candidates, and how many seconds have been scored.
        watch: gets each window that was scored.

    Returns what scored the windows, and how many samples there are.
    """
    scorer = await scorer_of(service, settings)
    detector = StreamDetector(scorer, upload.name, group=GROUP, watch=watch)
    groups = _groups(upload, Limits(service.settings.most_seconds, deadline), detector.cutter)
    while group := await service.decoding(lambda: next(groups, None)):
        take(await _scored(service, detector, group), group[-1].end or 0.0)
    take(await detecting(service, detector.finish), detector.cutter.samples / SAMPLE_RATE)
    return scorer, detector.cutter.samples


async def _scored(service: Service, detector: StreamDetector, windows: list[Segment]) -> list[Event]:
    return await detecting(service, lambda: detector.take(windows))


async def scorer_of(service: Service, settings: EventSettings) -> WindowScorer:
    """Return what scores windows by these settings. Raises Refusal where they do not go together."""

    def made(manager: Manager) -> WindowScorer:
        return WindowScorer(manager.session, settings, skip_damaged=True)

    try:
        return await service.on_engine(made)
    except (AudioError, MethodError) as error:
        raise Refusal("invalid", str(error)) from None


async def detecting(service: Service, detect: Callable[[], T]) -> T:
    """Return what a detector returns, which runs between two batches. Raises Refusal where a task has no timeline."""
    try:
        return await service.on_engine(lambda _: detect())
    except MethodError as error:
        raise Refusal("invalid", str(error)) from None


def _groups(upload: Upload, limits: Limits, cutter: WindowCutter) -> Iterator[list[Segment]]:
    with named_as_sent(upload):
        for block in blocks(upload, limits, []):
            yield from cutter.add(block)


async def _work(service: Service, upload: Upload, settings: EventSettings, job: Job) -> None:
    def take(found: Sequence[Event], seconds: float) -> None:
        job.add([event_json(one) for one in found if not one.why], seconds)

    with service.admission.stay():
        scorer, _ = await find(service, upload, settings, inf, take)
        job.left_out = scorer.left_out


async def _lines(job: Job) -> AsyncIterator[str]:
    """Yield a job as server-sent events, from its beginning; the last is done or error."""
    given, progress = 0, dict[str, Any]()
    while True:
        changed = job.changed
        for event in job.events[given:]:
            yield _sent("event", event)
        given = len(job.events)
        now = {"seconds": job.seconds} if job.step is None else {"step": job.step}
        if now != progress:
            progress = now
            yield _sent("progress", progress)
        if job.error is not None:
            yield _sent("error", job.error)
            return
        if job.state == "done":
            yield _sent("done", {"events": given, "seconds": job.seconds})
            return
        await changed.wait()


def _sent(kind: str, data: Mapping[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def only(uploads: Sequence[Upload]) -> Upload:
    """Return the upload of a request that takes one. Raises Refusal where there are several."""
    if len(uploads) != 1:
        raise Refusal("invalid", "send one recording")
    return uploads[0]


def event_json(event: Event) -> dict[str, Any]:
    """Return an event as `cl-ast events --format json` has it, with the client's name of the file."""
    found = event.to_json()
    return {"file": found.pop("path"), **found}


def _shown(settings: EventSettings) -> dict[str, Any]:
    """Return the settings as the query of a request spells them."""
    row = settings.row()
    method = row.pop("method")
    return {"task": settings.task, **row, "events": method}


def text_of(found: writers.Found, settings: EventSettings, format: Format) -> str:
    """Return events as text in a format other than json."""
    if format == "csv":
        return writers.as_csv([found], settings.row()) + "\n"
    if format == "raven":
        return writers.raven([found]) + "\n"
    if format == "jsonl":
        return "".join(writers.jsonl(one) + "\n" for one in found.events)
    return (writers.audacity(found) if format == "audacity" else writers.srt(found)) + "\n"
