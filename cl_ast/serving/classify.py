"""POST /v1/classify and POST /hf/{task}: uploads in, labels out."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from torch import Tensor

from cl_ast.audio.windows import Window
from cl_ast.errors import AudioError
from cl_ast.inference import prediction
from cl_ast.serving.asgi import request_id_of
from cl_ast.serving.error_refusals import refusal_after_logging
from cl_ast.serving.queries import parameters_of, query_of
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.schemas import Classified, HubRequest, Label, Parameters
from cl_ast.serving.service import Answered, Service
from cl_ast.serving.uploads import AUDIO, BODY, Upload, media_type, only
from cl_ast.serving.work import Outcome, Question
from cl_ast.tasks.task_model import label_scores

_JSON = {"schema": HubRequest.model_json_schema(ref_template="#/components/schemas/{model}")}
PATH = "/v1/classify"
TOP_K = 5


class ClassifyQuery(BaseModel):
    """What is wanted of recordings."""

    task: Annotated[str, Field(max_length=200, description="A task's name, or auto to let the router choose.")] = (
        prediction.AUTO
    )
    top_k: Annotated[int, Field(ge=1, le=1000, description="How many labels.")] = TOP_K
    window: Annotated[float | None, Field(description="Classify every window of this many seconds.")] = None
    hop: Annotated[float | None, Field(description="A window every so many seconds; by default the window.")] = None
    deterministic: Annotated[
        bool, Field(description="Share no pass with others: exactly the answer of `cl-ast predict --task NAME`.")
    ] = False
    timeline: Annotated[
        bool, Field(description="The scores of every step in time of the backbone, too; shares no pass, either.")
    ] = False
    timeout_ms: Annotated[int | None, Field(ge=1, description="Give up after so long.")] = None


def routes(service: Service) -> APIRouter:
    """Return the endpoints that classify."""
    router = APIRouter()

    @router.post(PATH, response_model=Classified, openapi_extra={**BODY, **parameters_of(ClassifyQuery)})
    async def classify(request: Request) -> JSONResponse:
        """Classify one recording (the body) or several (a form with `file`, any number of times)."""
        wanted = query_of(request, ClassifyQuery)
        deadline = service.deadline(wanted.timeout_ms)
        query = prediction.Query(wanted.task, wanted.top_k, _window(wanted.window, wanted.hop))
        question = Question(query, wanted.deterministic, wanted.timeline, deadline)
        async with service.uploads(request, deadline) as uploads:
            found = await service.in_time(request, deadline, _all_answered(service, request, uploads, question))
            if len(found) == 1 and isinstance(found[0], Refusal):
                raise found[0]
            return JSONResponse(classified(request_id_of(request), wanted.task, uploads, found))

    @router.post(
        "/hf/{task}",
        response_model=list[Label],
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": _JSON, "application/octet-stream": AUDIO},
            }
        },
    )
    async def hub(request: Request, task: str) -> JSONResponse:
        """Classify a recording as Hugging Face's audio-classification task does; the path may end with auto."""
        deadline = service.deadline()
        async with service.uploads(request, deadline) as uploads:
            upload, wanted = only(uploads), Parameters()
            if media_type(request) == "application/json":
                upload, wanted = _from_json(upload)
            question = Question(prediction.Query(task, 1), deadline=deadline)
            found = await service.in_time(request, deadline, service.answer(upload, question))
        (outcome,) = found.outcomes
        headers = {
            "Cl-Ast-Task": quote(outcome.prediction.task),
            "Cl-Ast-Version": str(outcome.version.number),
            "Cl-Ast-Known": str(outcome.prediction.known).lower(),
        }
        return JSONResponse(
            [{"label": label, "score": score} for label, score in _scores(outcome, wanted)], 200, headers
        )

    return router


async def _all_answered(
    service: Service, request: Request, uploads: Sequence[Upload], question: Question
) -> list[Answered | Refusal]:
    """Return the answers for each upload, or its error."""
    if len(uploads) == 1:
        return [await _answered(service, request, uploads[0], question)]
    return await asyncio.gather(*[_answered(service, request, one, question) for one in uploads])


async def _answered(service: Service, request: Request, upload: Upload, question: Question) -> Answered | Refusal:
    """Return the answers for one upload of several, or its error."""
    try:
        return await service.answer(upload, question)
    except Exception as error:
        return refusal_after_logging(error, service.log, request_id_of(request), question.query.task)


def _window(seconds: float | None, hop: float | None) -> Window | None:
    if seconds is None:
        if hop is not None:
            raise Refusal("invalid", "hop needs window")
        return None
    try:
        return Window(seconds, seconds if hop is None else hop)
    except AudioError as error:
        raise Refusal("invalid", str(error)) from None


def classified(
    request_id: str, task: str, uploads: Sequence[Upload], found: Sequence[Answered | Refusal]
) -> dict[str, Any]:
    """Return the answer of /v1/classify, for uploads and what was found in each."""
    results: list[dict[str, Any]] = []
    answered = [one for one in found if isinstance(one, Answered)]
    for upload, one in zip(uploads, found, strict=True):
        if isinstance(one, Refusal):
            results.append({"file": upload.name, "error": one.to_json()})
        else:
            results += [_result(outcome) for outcome in one.outcomes]
    return {
        "id": request_id,
        "model": task,
        "results": results,
        "usage": {
            "audio_seconds": round(sum(one.audio for one in answered), 3),
            "windows": sum(len(one.outcomes) for one in answered),
        },
        "timing_ms": {
            name: round(1e3 * sum(getattr(one, name) for one in answered), 3)
            for name in ("decode", "queue", "route", "compute")
        },
    }


def _result(outcome: Outcome) -> dict[str, Any]:
    """Return an answer as `cl-ast predict --format json` has it, with the version that gave it."""
    found = outcome.prediction.to_json()
    if outcome.timeline is not None:
        found["timeline"] = {
            "step": outcome.timeline.step,
            "labels": list(outcome.settings.labels),
            "starts": _rounded(outcome.timeline.starts),
            "scores": _rounded(outcome.timeline.scores),
        }
    return {
        "file": found.pop("path"),
        **found,
        "version": outcome.version.number,
        "sha256": outcome.version.adapter_sha256,
    }


def _rounded(values: Tensor) -> list[Any]:
    """Return numbers with as many digits as a score over time needs, so that the answer stays small."""
    found: list[Any] = values.double().round(decimals=4).tolist()
    return found


def _from_json(upload: Upload) -> tuple[Upload, Parameters]:
    content = upload.content if isinstance(upload.content, bytes) else upload.content.read_bytes()
    try:
        given = HubRequest.model_validate_json(content)
        audio = base64.b64decode(given.inputs, validate=True)
    except (ValidationError, binascii.Error, ValueError):
        raise Refusal(
            "invalid",
            'send {"inputs": the file in base64, "parameters": {"top_k": number, "function_to_apply": "softmax", '
            '"sigmoid" or "none"}}, or the file itself with another Content-Type',
        ) from None
    return Upload("audio", audio), given.parameters or Parameters()


def _scores(outcome: Outcome, wanted: Parameters) -> list[tuple[str, float]]:
    settings, labels, top_k = outcome.settings, outcome.settings.labels, wanted.top_k or TOP_K
    function = wanted.function_to_apply
    if function in (None, settings.labelling.activation):
        return label_scores(outcome.logits[None], settings, top_k)[0]
    others = {"softmax": outcome.logits.softmax(dim=-1), "sigmoid": outcome.logits.sigmoid()}
    values = others.get(str(function), outcome.logits)
    best = values.topk(min(top_k, len(labels)))
    return [(labels[place], value) for place, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
