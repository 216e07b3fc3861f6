"""The process: it listens, says when it is ready, and on SIGTERM answers what it has accepted before it ends."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from cl_ast.errors import ClAstError
from cl_ast.manager import Manager
from cl_ast.serving.app import app_of
from cl_ast.serving.connections import bounded_protocol
from cl_ast.serving.service import Service
from cl_ast.serving.settings import Settings
from cl_ast.wording import first_line

_TICK = 0.05  # seconds
_LARGEST_FRAME = 2**20  # bytes
_MOST_CONNECTIONS = 2**12
_HEAD_SECONDS = 10.0  # that the head of a request may take
_CLOSING = 5  # seconds that connections get to receive the end of their answers


def serve(manager: Manager, settings: Settings, say: Callable[[str], None], log: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        say: takes the line with the address, when the service is ready.
        log: takes a line about what no client is told.

    Raises ClAstError where the address cannot be used, and whatever keeps the backbone from being loaded.
    """
    loop = auto_loop_factory()  # uvloop's where it is installed, which takes a tenth less of the processor
    with listening_at(settings) as listening, _logged(log), asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_serve(manager, settings, listening, say, log))


async def _serve(
    manager: Manager,
    settings: Settings,
    listening: socket.socket,
    say: Callable[[str], None],
    log: Callable[[str], None],
) -> None:
    service = Service(manager, settings, log)
    app = app_of(service)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing asks who the client is
        lifespan="off",
        timeout_graceful_shutdown=_CLOSING,
        http=bounded_protocol(min(_HEAD_SECONDS, settings.timeout), _MOST_CONNECTIONS, app.refusal_by_head),
        ws_max_size=_LARGEST_FRAME,
        ws="websockets-sansio",
    )
    server = _Server(config)
    service.engine.start()
    watching = asyncio.create_task(_watch(server, service, address_of(settings.host, listening.getsockname()[1]), say))
    try:
        await server.serve(sockets=[listening])
    finally:
        watching.cancel()
        service.close()
    if service.engine.failure is not None:
        raise service.engine.failure


async def _watch(server: "_Server", service: Service, address: str, say: Callable[[str], None]) -> None:
    """Say when the service is ready, and end the server when it was told to stop and has answered."""
    while service.engine.state not in ("ready", "stopped") and not server.stop_wanted:
        await asyncio.sleep(_TICK)
    if service.engine.state == "ready":
        leave_libraries_out_of_collections()
        say(address)
    while service.engine.state == "ready" and not server.stop_wanted:
        await asyncio.sleep(_TICK)
    service.admission.draining = True
    try:
        async with asyncio.timeout(service.settings.drain):
            await service.admission.emptied()
    except TimeoutError:
        service.log(
            f"{service.admission.inside} requests were not answered within the {service.settings.drain:g} s of --drain"
        )
    service.jobs.close()
    server.should_exit = True


def leave_libraries_out_of_collections() -> None:
    """Look for cyclic garbage among what comes from now on only.

    All threads wait meanwhile, for a third of a second where every object of torch and transformers is looked at.
    """
    gc.collect()
    gc.freeze()


class _Server(uvicorn.Server):
    """A server that keeps listening after the first signal, so that it can say that it drains; the second ends it."""

    stop_wanted = False

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGTERM and Ctrl-C inside the block."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {one: signal.signal(one, self.handle_exit) for one in signals}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of a signal."""
        if self.stop_wanted:
            self.should_exit = self.force_exit = True
        self.stop_wanted = True


def listening_at(settings: Settings) -> socket.socket:
    """Return a socket that listens at the address. Raises ClAstError where it cannot be used."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        found = socket.create_server((settings.host.strip("[]"), settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ClAstError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}); choose another --port"
        ) from None
    # Else a body that follows its head in a packet of its own waits 40 ms for the client's acknowledgement of the head:
    # asyncio sets this only for sockets that were made with the protocol's number. Connections inherit it.
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def address_of(host: str, port: int) -> str:
    """Return the URL of a service."""
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{shown}:{port}"


@contextmanager
def _logged(log: Callable[[str], None]) -> Generator[None, None, None]:
    """Pass what uvicorn has to complain about to the log, inside the block."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            if not isinstance(error, asyncio.CancelledError):  # at the second signal
                log(first_line(error) if error else record.getMessage())

    logger, handler = logging.getLogger("uvicorn"), Lines(logging.WARNING)
    was, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = was
