"""The process that speaks HTTP. It refuses requests that have no place; the process that computes answers the others.

Two threads share a pass through the backbone, and both wait while another thread of their process has Python's lock.
Here requests are read, and refused by the hundreds a second, under a lock of its own. It imports no torch.
"""

import asyncio
import logging
import signal
import socket
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess

import uvicorn
from starlette.responses import Response
from uvicorn.loops.auto import auto_loop_factory

from cl_ast.serving.asgi import Scope, headers_of, own_headers, request_id_in
from cl_ast.serving.channel import Channel, Frame
from cl_ast.serving.connections import bounded_protocol
from cl_ast.serving.forwarding import Forwarder
from cl_ast.serving.guard import Guard
from cl_ast.serving.places import Places
from cl_ast.serving.refusals import Refusal, answer_of
from cl_ast.serving.settings import Settings
from cl_ast.wording import first_line

STATE, KNOWN, STOP, REFUSED, LOG = "state", "known", "stop", "refused", "log"
"""What frames about no request are: how the service is, as `Told`; the state that is known here now; that this process
is to end; refusals, as `Refused`; a line for the log."""
Told = tuple[str, int, float]
"""The state, how many jobs have a place, and how long a request took lately, in seconds."""
Refused = Counter[tuple[str, int]]
"""How many refusals there were, by the reason (empty where no place was missing) and the status."""

_LARGEST_FRAME = 2**20  # bytes
_MOST_CONNECTIONS = 2**12
_HEAD_SECONDS = 10.0  # that the head of a request may take
_CLOSING = 5  # seconds that connections get to receive the end of their answers
_OFTEN = 0.5  # seconds from one message about refusals to the next


def start(listening: socket.socket, settings: Settings) -> tuple[SpawnProcess, socket.socket]:
    """Start the process on a socket that listens, which is closed here.

    Returns the process, and the socket of a channel to it. It ends when told to, or when the channel does.
    """
    ours, its = socket.socketpair()
    process = get_context("spawn").Process(
        target=_run, args=(listening, its, settings), name="cl-ast-listens", daemon=True
    )
    with listening, its, _without_signals():
        process.start()
    return process, ours


@contextmanager
def _without_signals() -> Generator[None, None, None]:
    """Let a process that starts inside the block get no signal of a terminal or a service manager; we are asked to end.

    Both send it to all processes of a service. What comes meanwhile reaches this process after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In that process


def _run(listening: socket.socket, connected: socket.socket, settings: Settings) -> None:
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:  # uvloop's, where it is installed
        runner.run(_listen(listening, connected, settings))


async def _listen(listening: socket.socket, connected: socket.socket, settings: Settings) -> None:
    listener = Listener(settings)
    await listener.channel.connect(connected)
    config = uvicorn.Config(
        listener.forwarder,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing asks who the client is
        lifespan="off",
        timeout_graceful_shutdown=_CLOSING,
        http=bounded_protocol(min(_HEAD_SECONDS, settings.timeout), _MOST_CONNECTIONS, listener.refusal_by_head),
        ws_max_size=_LARGEST_FRAME,
        ws="websockets-sansio",
    )
    server = _Server(config)
    logger = logging.getLogger("uvicorn")
    logger.propagate = False
    logger.addHandler(_Lines(listener.channel))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    ended = asyncio.create_task(listener.channel.lost.wait())
    telling = asyncio.create_task(listener.tell_refusals())
    stopping = asyncio.create_task(listener.stop_wanted.wait())
    await asyncio.wait({serving, ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    if serving.done():
        serving.result()  # raises what went wrong
    listener.channel.close()


class Listener:
    """What this process knows of the service, and does without asking the process that computes.

    Attributes:
        channel: to the process that computes.
        forwarder: the app that passes requests on.
        stop_wanted: is set when the process is to end.
    """

    def __init__(self, settings: Settings) -> None:
        self.channel = Channel(self._take)
        self.forwarder = Forwarder(self.channel)
        self.stop_wanted = asyncio.Event()
        self._guard = Guard(settings)
        self._most = settings.queue
        self._told: Told = ("starting", 0, 0.0)
        self._refused: Refused = Counter()

    def _take(self, frame: Frame) -> None:
        _, what, belonging = frame
        if what == STATE:
            is_new = belonging[0] != self._told[0]
            self._told = belonging
            if is_new:
                self.channel.put(0, KNOWN, belonging[0])
        elif what == STOP:
            self.stop_wanted.set()
        else:
            self.forwarder.take(frame)

    def refusal_by_head(self, scope: Scope) -> Response | None:
        """Return the refusal of a POST for which there is no place, given its head; None for any other request."""
        if scope["method"] != "POST":
            self._tell_refusals()  # it may ask for the counters
            return None
        state, jobs, seconds = self._told
        obstacle = Places(state, len(self.forwarder.inside) + jobs, self._most, seconds).obstacle()
        if obstacle is None:
            return None
        headers = headers_of(scope)
        reason, refusal = obstacle
        try:
            self._guard.check(scope, headers)
        except Refusal as other:
            reason, refusal = "", other
        request_id = request_id_in(headers)
        answer = answer_of(refusal, request_id)
        answer.raw_headers += own_headers(request_id)
        self._refused[reason, refusal.status] += 1
        return answer

    async def tell_refusals(self) -> None:
        """Tell the process that computes, which has the counters, of refusals; for ever."""
        while True:
            await asyncio.sleep(_OFTEN)
            self._tell_refusals()

    def _tell_refusals(self) -> None:
        if self._refused:
            refused, self._refused = self._refused, Counter()
            self.channel.put(0, REFUSED, refused)


class _Server(uvicorn.Server):
    """A server that leaves signals alone."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle none inside the block."""
        yield


class _Lines(logging.Handler):
    """Sends what uvicorn has to complain about to the log of the service."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.WARNING)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record as a line."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, asyncio.CancelledError):  # at the second signal
            self._channel.put(0, LOG, first_line(error) if error else record.getMessage())
