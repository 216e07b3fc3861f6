"""POST /v1/events, and jobs: what sounded from when to when in an upload, at once or in the background."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from cl_ast.events import Event, EventSettings, writers
from cl_ast.serving.asgi import request_id_of
from cl_ast.serving.event_queries import EventsRequest, RecordingQuery
from cl_ast.serving.finding import event_json, find, find_as_job, text_of
from cl_ast.serving.jobs import Job, started
from cl_ast.serving.schemas import EventsFound, JobState
from cl_ast.serving.service import Service
from cl_ast.serving.uploads import BODY, only


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
        said = {"left_out": scorer.left_out, "notes": scorer.cautions()}
        return JSONResponse(answer | {"settings": _shown(scorer.settings)} | said)

    @router.post("/v1/jobs", status_code=202, response_model=JobState, openapi_extra=BODY)
    async def start(request: Request, query: Annotated[RecordingQuery, Query()]) -> JSONResponse:
        """Find the events of a long recording in the background."""
        settings = query.settings()
        jobs.require_room()
        async with service.uploads(request, service.deadline()) as uploads:
            upload = service.spool.kept(only(uploads))
            job = jobs.start(lambda job: find_as_job(service, upload, settings, job), upload.delete, settings.task)
        return started(job)

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


def _shown(settings: EventSettings) -> dict[str, Any]:
    """Return the settings as the query of a request spells them."""
    row = settings.row()
    method = row.pop("method")
    return {"task": settings.task, **row, "events": method}
