"""WS /v1/stream: sound in as binary frames, windows and events out as soon as they are known."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, WebSocket
from pydantic import ConfigDict, Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.audio.windows import Segment
from cl_ast.events import Event, ScoredWindow, StreamDetector
from cl_ast.events.raw_sound import Encoding, RawSound, Resampler, SoundFormat
from cl_ast.serving.error_refusals import refusal_after_logging
from cl_ast.serving.event_queries import EventQuery
from cl_ast.serving.finding import detecting, scorer_of
from cl_ast.serving.guard import SUBPROTOCOL
from cl_ast.serving.refusals import Refusal, stopping
from cl_ast.serving.service import Service
from cl_ast.serving.spectrogram import LogMelColumns

_SILENT = 60.0  # seconds without a frame, after which a stream is over
_MOST_WAITING = 10.0  # seconds of sound that may wait; older windows are left out
_TICK = 0.5  # seconds
_LABELS = 5
# What a stream is closed with, after its error; 1008, against the rules, for the others.
_CLOSED = {"draining": 1001, "overloaded": 1013, "not_ready": 1013, "internal": 1011, "broken_task": 1011}


class Update(EventQuery):
    """The first message of a client: how its sound comes, and how events are found."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["session.update"]
    sample_rate: Annotated[int, Field(ge=1_000, le=384_000)] = SAMPLE_RATE
    encoding: Encoding = "pcm_s16le"
    channels: Annotated[int, Field(ge=1, le=32)] = 1
    spectrogram: Annotated[bool, Field(description="Send its columns, as binary frames of 128 bytes each.")] = False


class Frames:
    """Turns the bytes of frames, which may end within a sample, into mono samples at 16 kHz."""

    def __init__(self, update: Update) -> None:
        self._sound = RawSound(SoundFormat(update.sample_rate, update.encoding, update.channels))
        self._resampler = Resampler(update.sample_rate)

    def __call__(self, frame: bytes) -> Waveform:
        """Return the next samples. Raises Refusal where they are not numbers."""
        samples = self._sound.add(frame)
        if not (np.abs(samples) <= 1e9).all():
            raise Refusal("unreadable_audio", "some samples are not numbers; send another encoding")
        return self._resampler.add(samples)

    def finish(self) -> Waveform:
        """Return the samples that the resampler has left."""
        return self._resampler.finish()


def routes(service: Service) -> APIRouter:
    """Return the endpoint of streams."""
    router = APIRouter()
    open_streams = 0

    @router.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        nonlocal open_streams
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
        open_streams += 1
        session = _Session(service, socket)
        try:
            with service.admission.enter():
                await session.run()
        except WebSocketDisconnect:
            return
        except Exception as error:
            refusal = refusal_after_logging(error, service.log, socket.state.request_id, session.task)
            await _close(socket, {"type": "error", "error": refusal.to_json()}, _CLOSED.get(refusal.code, 1008))
        else:
            await _close(socket, {"type": "session.done"}, 1000)
        finally:
            open_streams -= 1

    service.metrics.gauge("stream_sessions", "Streams that are open.", lambda: open_streams)
    return router


async def _close(socket: WebSocket, last: dict[str, Any], code: int) -> None:
    """Send the last message of a stream, and close it, if the client is still there."""
    try:
        await socket.send_json(last)
        await socket.close(code)
    except (RuntimeError, WebSocketDisconnect):
        return


class _Session:
    """One stream. A task receives frames while windows are scored, so that what waits is known.

    Attributes:
        task: the one that answers, or "auto" or "all"; empty before the client has said it.
    """

    def __init__(self, service: Service, socket: WebSocket) -> None:
        self.task = ""
        self._service = service
        self._socket = socket
        self._frames: asyncio.Queue[Waveform | Exception | None] = asyncio.Queue()  # None is the end of the sound
        self._begun: set[tuple[str | None, str | None]] = set()
        self._windows: list[ScoredWindow] = []

    async def run(self) -> None:
        """Answer until the client ends its sound, leaves, or sends none for a minute. Raises Refusal."""
        update = await self._update()
        self.task = update.task
        scorer = await scorer_of(self._service, update.settings())
        detector = StreamDetector(scorer, watch=self._windows.append)
        used = {"window": scorer.settings.window, "hop": scorer.settings.hop}
        await self._send("session.created", **used, left_out=scorer.left_out, notes=scorer.cautions())
        receiving = asyncio.create_task(self._receive(Frames(update)))
        columns = LogMelColumns()
        try:
            while (samples := await self._next()) is not None:
                if update.spectrogram:
                    await self._socket.send_bytes(await self._service.decoding(partial(columns.add, samples)))
                for group in detector.cutter.add(samples):
                    await self._take(detector, group)
            await self._tell(await detecting(self._service, detector.finish), [])
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    async def _update(self) -> Update:
        try:
            async with asyncio.timeout(_SILENT):
                return Update.model_validate_json(await self._socket.receive_text())
        except (ValidationError, KeyError):
            raise Refusal(
                "invalid", 'the first message is {"type": "session.update", "sample_rate": 16000, …}'
            ) from None
        except TimeoutError:
            raise Refusal("deadline", "no session.update came") from None

    async def _receive(self, frames: Frames) -> None:
        """Receive frames until the client says session.finish; what goes wrong is raised by `_next`."""
        try:
            while True:
                async with asyncio.timeout(_SILENT):
                    message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect(message.get("code", 1005))
                frame = message.get("bytes")
                if frame is None:
                    break
                self._frames.put_nowait(frames(frame))
            if _type_of(message.get("text") or "") != "session.finish":
                raise Refusal("invalid", 'after session.update come binary frames, and {"type": "session.finish"}')
            self._frames.put_nowait(frames.finish())
            self._frames.put_nowait(None)
        except TimeoutError:
            self._frames.put_nowait(Refusal("deadline", f"no frame came for {_SILENT:g} s"))
        except Exception as error:
            self._frames.put_nowait(error)

    async def _next(self) -> Waveform | None:
        """Return the samples that have come, or None at the end of the sound."""
        found: list[Waveform] = []
        while not found or not self._frames.empty():
            try:
                async with asyncio.timeout(_TICK):
                    one = await self._frames.get()
            except TimeoutError:
                if self._service.admission.draining:
                    raise stopping() from None
                continue
            if isinstance(one, Exception):
                raise one
            if one is None:
                if not found:
                    return None
                self._frames.put_nowait(None)
                break
            found.append(one)
        return np.concatenate(found)

    async def _take(self, detector: StreamDetector, group: list[Segment]) -> None:
        """Score windows, say what is known now, and leave windows out where too many wait."""
        ended = await detecting(self._service, lambda: detector.take(group))
        await self._tell(ended, detector.sounding)
        late = (detector.cutter.waiting - detector.cutter.size) / SAMPLE_RATE
        if late > _MOST_WAITING:
            dropped = detector.cutter.drop(round(late * SAMPLE_RATE / detector.cutter.hop))
            await self._send("lag", seconds=round(late, 3), dropped=dropped)

    async def _tell(self, ended: Sequence[Event], sounding: Sequence[Event]) -> None:
        windows, self._windows[:] = list(self._windows), []
        for window in windows:
            labels = _labels(window)
            span = window.first / SAMPLE_RATE, window.stop / SAMPLE_RATE
            await self._send("window", start=span[0], end=span[1], known=bool(window.tasks), labels=labels)
        for event in [*(one for one in ended if not one.why), *sounding]:
            if (event.task, event.label) not in self._begun:
                self._begun.add((event.task, event.label))
                await self._send("event.begin", start=event.start, task=event.task, label=event.label)
        for event in ended:
            if not event.why:
                self._begun.discard((event.task, event.label))
                found = event.to_json()
                del found["path"]
                await self._send("event.end", **found)

    async def _send(self, kind: str, **values: Any) -> None:
        await self._socket.send_json({"type": kind, **values})


def _labels(window: ScoredWindow) -> list[dict[str, Any]]:
    """Return the most probable labels of a window, of all tasks that answered."""
    each = [
        {"task": one.task, "label": label, "score": round(score, 4)}
        for one in window.tasks
        for label, score in zip(one.labels, one.scores.mean(axis=0).tolist(), strict=True)
    ]
    return sorted(each, key=lambda one: -one["score"])[:_LABELS]


def _type_of(text: str) -> object:
    """Return the type of a message; None where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found.get("type") if isinstance(found, dict) else None
