"""/v1/recordings: a recording is sent once; its spectrogram, sound, labels, events and scores can then be had."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from cl_ast.events import EventSettings, ScoredWindow, Threshold, writers
from cl_ast.inference import prediction
from cl_ast.serving.asgi import request_id_of
from cl_ast.serving.classify import TOP_K, classified
from cl_ast.serving.decoding import Limits
from cl_ast.serving.event_queries import ScoreQuery, TextFormat
from cl_ast.serving.finding import find_as_job, text_of
from cl_ast.serving.jobs import Job, started
from cl_ast.serving.kept import Recording, Scored, excerpt
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.schemas import Classified, JobState, RecordingState
from cl_ast.serving.scores import scores_json
from cl_ast.serving.service import Service
from cl_ast.serving.spectrogram import COLUMNS, DEEPEST, tile
from cl_ast.serving.uploads import BODY, only
from cl_ast.serving.work import Question

_MOST_WINDOWS = 100_000  # whose scores are kept with a recording
_MOST_SECONDS = 60.0  # of a part that is cut out
_TASK = Query(max_length=200, description="A task's name, or auto to let the router choose.")


def routes(service: Service) -> APIRouter:
    """Return the endpoints about recordings that stay for an hour."""
    router, recordings = APIRouter(), service.recordings

    @router.post("/v1/recordings", status_code=201, response_model=RecordingState, openapi_extra=BODY)
    async def keep(request: Request) -> JSONResponse:
        """Send a recording, which stays for an hour."""
        deadline = service.deadline()
        async with service.uploads(request, deadline) as uploads:
            upload, limits = only(uploads), Limits(service.settings.most_seconds, deadline)
            found = await service.decoding(lambda: recordings.decode(upload, limits))
        recordings.keep(found)
        return JSONResponse(_state(found), 201, {"Location": f"/v1/recordings/{found.id}"})

    @router.get("/v1/recordings/{recording}", response_model=RecordingState)
    async def state(recording: str) -> dict[str, Any]:
        """Return what is known of a recording."""
        return _state(recordings.one(recording))

    @router.delete("/v1/recordings/{recording}", status_code=204)
    async def forget(recording: str) -> Response:
        """Delete a recording before its hour is over."""
        recordings.forget(recordings.one(recording).id)
        return Response(status_code=204)

    @router.get("/v1/recordings/{recording}/tiles/{level}/{number}", response_class=Response)
    async def spectrogram(
        recording: str,
        level: Annotated[int, Path(ge=0, le=DEEPEST, description="A column is the largest of 2^level frames.")],
        number: Annotated[int, Path(ge=0, le=100_000, description="Of 512 columns each, from 0 on.")],
    ) -> Response:
        """Return a tile of the log-mel spectrogram: a byte for each of 128 bands, from the lowest, column by column."""
        found = recordings.one(recording)
        content = await run_in_threadpool(tile, found.columns, level, number)
        return Response(content, media_type="application/octet-stream")

    @router.get("/v1/recordings/{recording}/sound", response_class=Response)
    async def sound(
        recording: str,
        start: Annotated[
            float | None, Query(ge=0, description="Seconds; with `end`, a part of a minute at most.")
        ] = None,
        end: Annotated[float | None, Query(ge=0)] = None,
    ) -> Response:
        """Return the sound, or a part of it, as WAV at 16 kHz. The whole is answered in ranges of bytes, too."""
        found = recordings.one(recording)
        if start is None and end is None:
            return FileResponse(found.sound, media_type="audio/wav")
        begin, stop = start or 0.0, found.seconds if end is None else end
        if stop - begin > _MOST_SECONDS:
            raise Refusal("invalid", f"a part has {_MOST_SECONDS:g} s at most; the whole comes without start and end")
        return Response(await run_in_threadpool(excerpt, found, begin, stop), media_type="audio/wav")

    @router.post("/v1/recordings/{recording}/classify", response_model=Classified)
    async def classify(request: Request, recording: str, task: Annotated[str, _TASK] = prediction.AUTO) -> JSONResponse:
        """Classify a recording as /v1/classify does."""
        upload, deadline = recordings.one(recording).upload, service.deadline()
        question = Question(prediction.Query(task, TOP_K), deadline=deadline)
        with service.admission.enter():
            found = await service.in_time(request, deadline, service.answer(upload, question))
        return JSONResponse(classified(request_id_of(request), task, [upload], [found]))

    @router.post("/v1/recordings/{recording}/events", status_code=202, response_model=JobState)
    async def search(recording: str, query: Annotated[ScoreQuery, Query()]) -> JSONResponse:
        """Find the events of a recording, as a job; its scores are kept with the recording."""
        found, settings = recordings.one(recording), query.settings()
        service.jobs.require_room()
        with service.admission.enter():
            job = service.jobs.start(lambda job: _search(service, found, settings, job), lambda: None, query.task)
        return started(job)

    @router.get("/v1/recordings/{recording}/scores")
    async def scores(recording: str) -> dict[str, Any]:
        """Return the scores of the last search in steps of time, from which events can be cut at any threshold."""
        return await run_in_threadpool(scores_json, _scored(recordings.one(recording)))

    @router.get("/v1/recordings/{recording}/events", response_class=Response)
    async def events(
        recording: str,
        format: Annotated[TextFormat, Query(description="As /v1/events has them.")] = "jsonl",
        on: Annotated[float | None, Query(ge=0, le=1, description="Where an event begins; else as searched.")] = None,
    ) -> Response:
        """Return the events of the last search as text, cut out at a threshold."""
        found = recordings.one(recording)
        text = await run_in_threadpool(_text, found.name, _scored(found), format, on)
        return Response(text, media_type="text/plain")

    return router


def _state(recording: Recording) -> dict[str, Any]:
    return {
        "id": recording.id,
        "file": recording.name,
        "seconds": recording.seconds,
        "columns": COLUMNS,
        "loudest": recording.loudest,
    }


async def _search(service: Service, recording: Recording, settings: EventSettings, job: Job) -> None:
    windows: list[ScoredWindow] = []

    def watch(window: ScoredWindow) -> None:
        windows.append(window)
        if len(windows) > _MOST_WINDOWS:
            raise Refusal("too_large", f"more than {_MOST_WINDOWS:,} windows: choose a larger hop, or send less")

    scorer, samples = await find_as_job(service, recording.upload, settings, job, watch)
    recording.scored = Scored(scorer.settings, scorer.step, scorer.hop, samples, windows, scorer.cautions())


def _scored(recording: Recording) -> Scored:
    if recording.scored is None:
        raise Refusal("not_found", f"nothing was searched yet: POST /v1/recordings/{recording.id}/events")
    return recording.scored


def _text(name: str, scored: Scored, format: TextFormat, on: float | None) -> str:
    """Return the events that a threshold cuts out, or where there is none those that were found, as text."""
    settings = scored.settings
    if on is not None:
        settings = replace(settings, threshold=Threshold.of(on), thresholds={})
    return text_of(writers.Found(name, scored.samples, scored.events(name, settings)), settings, format)
