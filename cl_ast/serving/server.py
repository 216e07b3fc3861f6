"""The service of one machine: it says when it is ready, and on SIGTERM answers what it has accepted before it ends.

It is two processes: this one has the app and computes, and the other one speaks HTTP (`listener`).
"""

import asyncio
import gc
import socket
from collections.abc import Callable
from typing import Self

from uvicorn.loops.auto import auto_loop_factory

from cl_ast.errors import ClAstError
from cl_ast.manager import Manager
from cl_ast.serving import listener
from cl_ast.serving.app import app_of
from cl_ast.serving.channel import Channel, Frame
from cl_ast.serving.forwarding import Answerer
from cl_ast.serving.gate import NO_ROUTE
from cl_ast.serving.listener import KNOWN, REFUSED, STATE, STOP, Told
from cl_ast.serving.places import READY, STOPPED
from cl_ast.serving.service import Service
from cl_ast.serving.settings import Settings
from cl_ast.serving.signals import Signals

_TICK = 0.05  # seconds


def serve(manager: Manager, settings: Settings, say: Callable[[str], None], log: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        say: takes the line with the address, when the service is ready.
        log: takes a line about what no client is told.

    Raises ClAstError where the address cannot be used or the process that speaks HTTP has ended, and whatever keeps the
    backbone from being loaded.
    """
    listening = listening_at(settings)
    address = address_of(settings.host, listening.getsockname()[1])
    loop = auto_loop_factory()  # uvloop's where it is installed, which takes a tenth less of the processor
    with Signals() as signals, asyncio.Runner(loop_factory=loop) as runner:
        process, connected = listener.start(listening, settings)
        try:
            runner.run(_serve(manager, settings, log, connected, signals, lambda: say(address)))
        finally:
            process.kill()
            process.join()


async def _serve(
    manager: Manager,
    settings: Settings,
    log: Callable[[str], None],
    connected: socket.socket,
    signals: Signals,
    say: Callable[[], None],
) -> None:
    """Serve until the other process has ended, which it is told at the first signal; the second ends this at once."""
    service = Service(manager, settings, log)
    served = await _Served.over(connected, service)
    service.engine.start()
    watching = asyncio.create_task(_watch(service, served, signals, say))
    try:
        while not served.is_over and signals.count < 2:
            await asyncio.sleep(_TICK)
            served.tell()
            if watching.done():
                watching.result()  # raises what went wrong
    finally:
        watching.cancel()
        await served.close()
        service.close()
    if service.engine.failure is not None:
        raise service.engine.failure
    if not served.stop_told and signals.count < 2:
        raise ClAstError("the process that speaks HTTP has ended, and with it the service; start it again")


async def _watch(service: Service, served: "_Served", signals: Signals, say: Callable[[], None]) -> None:
    """Say when the service is ready, and end the other process when we were told to stop and have answered."""
    while service.engine.state not in (READY, STOPPED) and not signals.count:
        await asyncio.sleep(_TICK)
    if service.engine.state == READY:
        leave_libraries_out_of_collections()
        await served.known(READY)
        say()
    while service.engine.state == READY and not signals.count:
        await asyncio.sleep(_TICK)
    service.admission.draining = True
    served.tell()
    try:
        async with asyncio.timeout(service.settings.drain):
            await service.admission.emptied()
    except TimeoutError:
        service.log(
            f"{service.admission.inside} requests were not answered within the {service.settings.drain:g} s of --drain"
        )
    service.jobs.close()
    served.stop()


class _Served:
    """A service whose requests come from the process that speaks HTTP.

    Attributes:
        stop_told: whether that process was told to end.
    """

    def __init__(self, service: Service) -> None:
        self.stop_told = False
        self._service = service
        self._channel = Channel(self._take)
        self._answerer = Answerer(app_of(service), self._channel)
        self._told: Told | None = None
        self._known = ""
        self._changed = asyncio.Event()

    @classmethod
    async def over(cls, connected: socket.socket, service: Service) -> Self:
        """Answer what comes over a socket."""
        served = cls(service)
        await served._channel.connect(connected)
        service.admission.changed = served.tell
        return served

    @property
    def is_over(self) -> bool:
        """Whether the other process has ended."""
        return self._channel.lost.is_set()

    def tell(self) -> None:
        """Tell the other process how the service is, if that has changed."""
        places, jobs = self._service.admission.places, self._service.admission.jobs
        told = places.state, jobs, places.seconds_each
        if told != self._told:
            self._told = told
            self._channel.put(0, STATE, told)

    async def known(self, state: str) -> None:
        """Wait until the other process knows the service's state."""
        self.tell()
        while self._known != state:
            self._changed.clear()
            await self._changed.wait()

    def stop(self) -> None:
        """Let the other process end, when it has sent what was answered."""
        self.stop_told = True
        self._channel.put(0, STOP)

    async def close(self) -> None:
        """Give up what has no answer yet."""
        self._channel.close()
        await self._answerer.close()

    def _take(self, frame: Frame) -> None:
        number, what, belonging = frame
        if number:
            self._answerer.take(frame)
        elif what == KNOWN:
            self._known = belonging
            self._changed.set()
        elif what == REFUSED:
            for (reason, status), count in belonging.items():
                self._service.metrics.refused(NO_ROUTE, status, reason, count)
        else:
            self._service.log(belonging)


def leave_libraries_out_of_collections() -> None:
    """Look for cyclic garbage among what comes from now on only.

    All threads wait meanwhile, for a third of a second where every object of torch and transformers is looked at.
    """
    gc.collect()
    gc.freeze()


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
