"""The app: all endpoints, and every error in one shape."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Lifespan

from cl_ast.environment import package_versions
from cl_ast.errors import ClAstError
from cl_ast.serving import classify, events, page, recordings, streams, tasks, training
from cl_ast.serving.asgi import request_id_of
from cl_ast.serving.direct import Direct, Handler
from cl_ast.serving.error_refusals import refusal_after_logging
from cl_ast.serving.gate import Gate
from cl_ast.serving.places import READY
from cl_ast.serving.refusals import STATUS, Refusal, answer_of
from cl_ast.serving.schemas import Alive, ErrorAnswer, Ready
from cl_ast.serving.service import Service

_CODES = {404: "not_found", 405: "not_allowed", 413: "too_large", 415: "unsupported"}
_CLIENT_LEFT = 499  # which nobody receives


def app_of(service: Service, lifespan: Lifespan[FastAPI] | None = None) -> Gate:
    """Return the app of a service, as ASGI has it.

    Args:
        lifespan: a context around all requests, where the server calls for one.
    """
    app = FastAPI(
        lifespan=lifespan,
        title="cl-ast",
        version=package_versions().get("cl-ast", "0"),
        description="Classifies recordings with many tasks over one frozen backbone.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        responses={status: {"model": ErrorAnswer} for status in sorted(set(STATUS.values()))},
    )
    app.include_router(_health(service))
    classifying = classify.routes(service)
    app.include_router(classifying)
    app.include_router(tasks.routes(service))
    if service.settings.one_process:
        app.include_router(recordings.routes(service))
        app.include_router(training.routes(service))
    else:
        app.include_router(_of_one_process())  # before /v1/jobs
    app.include_router(events.routes(service))
    app.include_router(streams.routes(service))
    if service.settings.page:
        app.include_router(page.routes())
    handlers = _handlers(service)
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    short = [one for one in classifying.routes if isinstance(one, APIRoute) and one.path == classify.PATH]
    return Gate(Direct(app, short, handlers), service)


def _of_one_process() -> APIRouter:
    """Return the endpoints that keep something for later requests, which may reach another replica: they refuse."""
    router = APIRouter(include_in_schema=False)

    async def refuse() -> None:
        raise Refusal(
            "forbidden",
            "recordings, jobs and trainings are kept by a service of one process only, and this one has several "
            "replicas; /v1/classify, /v1/events and /v1/stream answer",
        )

    for path in ("/v1/recordings", "/v1/jobs", "/v1/trainings"):
        router.add_api_route(path, refuse, methods=["POST"])
        router.add_api_route(f"{path}/{{rest:path}}", refuse, methods=["GET", "POST", "DELETE"])
    return router


def _health(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/livez", response_model=Alive)
    async def alive() -> dict[str, str]:
        """Answer as long as the process runs."""
        return {"status": "ok"}

    @router.get("/readyz", response_model=Ready, responses={503: {"model": Ready}})
    async def ready() -> JSONResponse:
        """Say whether requests are answered: after a first pass, and until the service is told to stop."""
        state = service.admission.places.state
        if state == READY:
            try:
                await run_in_threadpool(service.registry.count)
            except ClAstError:
                state = "registry unreachable"
        is_ready = state == READY
        return JSONResponse({"ready": is_ready, "why": None if is_ready else state}, 200 if is_ready else 503)

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Return counters and histograms in the text format of Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _handlers(service: Service) -> dict[Any, Handler]:
    """Return what answers each kind of error."""

    async def refused(request: Request, error: Exception) -> Response:
        request_id = request_id_of(request)
        task = request.path_params.get("name") or request.path_params.get("task") or request.query_params.get("task")
        return answer_of(refusal_after_logging(error, service.log, request_id, task or ""), request_id)

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refusal = Refusal(_CODES.get(error.status_code, "invalid"), str(error.detail))
        return answer_of(refusal, request_id_of(request))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(one) for one in first["loc"][1:])
        return answer_of(Refusal("invalid", f"{where}: {first['msg']}"), request_id_of(request))

    async def left(request: Request, error: Exception) -> Response:
        return Response(status_code=_CLIENT_LEFT)

    return {
        Refusal: refused,
        ClAstError: refused,
        HTTPException: of_http,
        RequestValidationError: invalid,
        ClientDisconnect: left,
    }
