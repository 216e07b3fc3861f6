"""The service on Ray Serve: the same app in several replicas, each with a backbone and the tasks that it caches.

Which replica gets a request, what becomes of one that dies, and the address are Ray's.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from cl_ast.cluster import starting
from cl_ast.cluster.predicting import Place
from cl_ast.errors import ClAstError
from cl_ast.manager import Manager
from cl_ast.serving.app import app_of
from cl_ast.serving.gate import Gate
from cl_ast.serving.places import READY, STOPPED
from cl_ast.serving.server import address_of, leave_libraries_out_of_collections, listening_at
from cl_ast.serving.service import Service
from cl_ast.serving.settings import Settings
from cl_ast.serving.signals import Signals

_NAME = "cl-ast"
_TICK = 0.05  # seconds
_BESIDE = 256  # requests beside the queue that reach a replica, so that the refusals and the statistics are ours


def serve(place: Place, settings: Settings, replicas: int, say: Callable[[str], None]) -> None:
    """Serve with a Ray cluster until SIGTERM or Ctrl-C; what was accepted is answered then.

    Args:
        say: takes the line with the address, when all replicas are ready.

    Raises ClAstError where Ray is not installed, its cluster cannot be reached or has no room, or a replica does not
    start.
    """
    ray = starting.imported(place.device, "ray.serve")
    if starting.is_own():
        with listening_at(settings) as free:
            settings = replace(settings, port=free.getsockname()[1])
    starting.start(ray)
    try:
        cpus, gpus = starting.count(ray, place.device)
        if replicas > (gpus or cpus):
            raise ClAstError(
                f"{replicas} replicas need a {'GPU' if gpus else 'CPU'} each, and the cluster has {gpus or cpus}"
            )
        options = {"num_cpus": 0 if gpus else 1, "num_gpus": 1 if gpus else 0}
        _deploy(ray.serve, _deployment(ray.serve, place, settings, replicas, options), settings)
        with Signals() as signals:
            say(address_of(settings.host, settings.port))
            while not signals.count:
                time.sleep(_TICK)
        ray.serve.delete(_NAME)
    finally:
        ray.shutdown()


def _deploy(serve: Any, deployment: Any, settings: Settings) -> None:
    """Start the proxy and the replicas, and wait until they are ready."""
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    quiet = {"log_level": "ERROR", "enable_access_log": False}
    try:
        serve.start(http_options={"host": settings.host, "port": settings.port}, logging_config=quiet)
        serve.run(deployment, name=_NAME, route_prefix="/", logging_config=quiet)
    except (RuntimeError, OSError) as error:
        raise ClAstError(f"Ray could not start the service: {starting.last_line(error)}; look at Ray's logs") from error


def _deployment(serve: Any, place: Place, settings: Settings, replicas: int, options: dict[str, Any]) -> Any:
    """Return what Ray Serve runs."""
    import torch

    threads = max(1, torch.get_num_threads() // replicas)

    def app() -> Gate:
        torch.set_num_threads(threads)
        return _replica(place, replace(settings, one_process=replicas == 1))

    class Replica:
        def check_health(self) -> None:
            """Raise an error where the engine has ended, so that Ray replaces the replica."""
            if self.app.service.engine.state != READY:  # type: ignore[attr-defined]
                raise ClAstError("the engine has ended")

    return serve.deployment(
        serve.ingress(app)(Replica),
        name=_NAME,
        num_replicas=replicas,
        ray_actor_options=options,
        max_ongoing_requests=settings.queue + _BESIDE,
        max_constructor_retry_count=1,
        graceful_shutdown_timeout_s=settings.drain,
        graceful_shutdown_wait_loop_s=_TICK,
    ).bind()


def _replica(place: Place, settings: Settings) -> Gate:
    """Return the app, in the process of a replica; its lifespan begins when the engine is ready."""
    with suppress(OSError):  # Whole paths need no folder.
        os.chdir(place.folder)
    manager = Manager.open(place.registry, backbone=place.backbone, device=place.device, create=False)
    service = Service(manager, settings, logging.getLogger("ray.serve").error)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        service.engine.start()
        while service.engine.state not in (READY, STOPPED):
            await asyncio.sleep(_TICK)
        if service.engine.failure is not None:
            raise service.engine.failure
        leave_libraries_out_of_collections()
        yield
        service.close()
        manager.close()

    return app_of(service, lifespan)
