"""What all endpoints share: the engine, the admission of requests, the uploads, and how an upload becomes an answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from os import cpu_count
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from cl_ast.audio.reading import Waveform
from cl_ast.audio.windows import Segment
from cl_ast.inference.answering import SEGMENTS
from cl_ast.manager import Manager
from cl_ast.router import part_to_describe
from cl_ast.serving.admission import Admission
from cl_ast.serving.decoding import Limits, cut, decoded, is_quick
from cl_ast.serving.engine import Engine
from cl_ast.serving.jobs import Jobs
from cl_ast.serving.kept import Recordings
from cl_ast.serving.metrics import Metrics
from cl_ast.serving.refusals import Refusal, late
from cl_ast.serving.settings import Settings
from cl_ast.serving.uploads import Spool, Upload, delete
from cl_ast.serving.work import Outcome, Question, Work

T = TypeVar("T")
_DECODERS = 4
_MOST_DECODED = 64  # clips in memory at once; others wait as they came
_MOST_WINDOWS = 10_000  # of one answer
_MOST_SCORES = 2_000_000  # of its timelines
_MOST_BODIES = 16  # times the largest body, for all uploads at once


@dataclass(slots=True)
class Answered:
    """The answers for one upload, one or one a window.

    Attributes:
        scores: how many their timelines have.
        audio: how long the upload is, in seconds.
        decode, queue, route, compute: what the answers took, in seconds.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    scores: int = 0
    audio: float = 0.0
    decode: float = 0.0
    queue: float = 0.0
    route: float = 0.0
    compute: float = 0.0

    def add(self, work: Work, outcomes: list[Outcome]) -> None:
        """Add the outcomes of a work. Raises Refusal where their timelines are too large for one answer."""
        self.outcomes += outcomes
        self.scores += sum(one.timeline.scores.numel() for one in outcomes if one.timeline is not None)
        if self.scores > _MOST_SCORES:
            raise Refusal("too_large", f"timelines of more than {_MOST_SCORES:,} scores: send less, or ask for events")
        self.queue += work.queue_seconds
        self.route += work.route_seconds
        self.compute += work.compute_seconds


class Service:
    """One engine and what is around it. Made in the event loop's thread."""

    def __init__(self, manager: Manager, settings: Settings, log: Callable[[str], None]) -> None:
        """
        Args:
            log: takes a line about what no client is told.
        """
        self.settings = settings
        self.registry = manager.registry
        self.log = log
        self.metrics = Metrics()
        self.engine = Engine(manager, self.metrics, log, settings.pinned)
        self.admission = Admission(self.engine, self.metrics, settings.queue, _MOST_BODIES * settings.most_bytes)
        self.spool = Spool()
        self.jobs = Jobs(self.metrics, log)
        self.recordings = Recordings(self.spool)
        self._memory = asyncio.Semaphore(_MOST_DECODED)
        self._decoders = ThreadPoolExecutor(min(_DECODERS, cpu_count() or 1), "cl-ast-decodes")
        self.metrics.gauge("queue_works", "Clips that wait for the engine.", lambda: self.engine.waiting)
        self.metrics.gauge("requests_inside", "Requests that are waiting or computed.", lambda: self.admission.inside)

    def close(self) -> None:
        """Stop the engine, and delete what is left of uploads."""
        self.engine.close()
        self._decoders.shutdown(cancel_futures=True)
        self.spool.close()

    def deadline(self, timeout_ms: int | None = None) -> float:
        """Return until when a request that came now is answered."""
        seconds = self.settings.timeout
        return time.monotonic() + (seconds if timeout_ms is None else min(seconds, timeout_ms / 1e3))

    @asynccontextmanager
    async def uploads(self, request: Request, deadline: float) -> AsyncIterator[list[Upload]]:
        """Take a place for a request and receive its body, which is deleted after the block.

        Raises Refusal where there is no place, and where the body is wrong, too large or too slow.
        """
        with self.admission.enter():
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    found = await self.spool.receive(request)
            except TimeoutError:
                self.metrics.rejected("deadline")
                raise late() from None
            try:
                yield found
            finally:
                delete(found)

    async def in_time(self, request: Request, deadline: float, answer: Awaitable[T]) -> T:
        """Return an answer; give it up at the deadline, or when the client leaves.

        Raises Refusal where it was not ready in time, and ClientDisconnect where the client has left.
        """
        waiting = asyncio.current_task()
        assert waiting is not None
        is_over = False

        def leave(leaving: asyncio.Future[None]) -> None:
            if not is_over and not leaving.cancelled():
                waiting.cancel()

        leaving = asyncio.ensure_future(_left(request))
        leaving.add_done_callback(leave)
        time_over = asyncio.timeout(max(0.0, deadline - time.monotonic()))
        try:
            async with time_over:
                return await answer
        except TimeoutError:
            if not time_over.expired():
                raise
            self.metrics.rejected("deadline")
            raise late() from None
        except asyncio.CancelledError:
            if leaving.done() and not waiting.uncancel():
                raise ClientDisconnect from None
            raise
        finally:
            is_over = True
            leaving.cancel()

    async def answer(self, upload: Upload, question: Question) -> Answered:
        """Return the answers for an upload. Raises Refusal, AudioError and TaskNotFoundError."""
        found = Answered()
        limits = Limits(self.settings.most_seconds, question.deadline)
        async with self._memory:
            if question.query.window is None:
                await self._answer_whole(upload, question, limits, found)
            else:
                await self._answer_windows(upload, question, limits, found)
        for outcome in found.outcomes:
            self.metrics.answered(found.queue, outcome.prediction.known)
        self.metrics.decoded(found.audio, found.decode)
        return found

    async def _answer_whole(self, upload: Upload, question: Question, limits: Limits, found: Answered) -> None:
        started = time.monotonic()
        if is_quick(upload):
            clip = decoded(upload, limits, routed=question.routed)
        else:
            clip = await self.decoding(lambda: decoded(upload, limits, routed=question.routed))
        found.audio, found.decode = clip.seconds, time.monotonic() - started
        parts = [] if clip.part is None else [clip.part]
        work = Work([clip.clip], question, parts)
        found.add(work, await self._computed(work))

    async def _answer_windows(self, upload: Upload, question: Question, limits: Limits, found: Answered) -> None:
        """Answer windows as they are decoded, 32 at a time, so that others can go between them."""
        assert question.query.window is not None
        windows = cut(upload, question.query.window, limits)
        while True:
            started = time.monotonic()
            some, parts = await self.decoding(lambda: _some(windows, routed=question.routed))
            found.decode += time.monotonic() - started
            if not some:
                return
            if len(found.outcomes) + len(some) > _MOST_WINDOWS:
                raise Refusal("too_large", f"more than {_MOST_WINDOWS:,} windows: choose a larger hop, or send less")
            work = Work(some, question, parts)
            found.add(work, await self._computed(work))
            found.audio = some[-1].end or 0.0

    async def on_engine(self, errand: Callable[[Manager], T]) -> T:
        """Return what a function returns that runs between two batches, in the engine's thread."""
        return await asyncio.wrap_future(self.engine.call(errand))

    async def decoding(self, work: Callable[[], T]) -> T:
        """Return what a function returns that runs in one of the threads that decode."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)

    async def _computed(self, work: Work) -> list[Outcome]:
        self.engine.submit(work)
        return await asyncio.wrap_future(work.outcome)


def _some(windows: Iterator[Segment], *, routed: bool) -> tuple[list[Segment], list[Waveform]]:
    """Return the next windows, and what the router reads of them."""
    some = list(islice(windows, SEGMENTS))
    return some, [part_to_describe(one.waveform) for one in some] if routed else []


async def _left(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
