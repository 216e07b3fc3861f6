"""Recordings that stay for a while: decoded once, so that a browser can look at parts of them and have them searched.

Each is two files of the spool: its sound as WAV (mono, 16 kHz, floats: the samples that every task gets) and its
spectrogram. The oldest give way to new ones, and all are deleted an hour after they came.
"""

import asyncio
import io
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import soundfile

from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.errors import AudioError
from cl_ast.events import EventDetector, EventSettings, ScoredWindow
from cl_ast.events.event import Event
from cl_ast.serving.decoding import Limits, blocks, named_as_sent
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.spectrogram import LogMelColumns
from cl_ast.serving.uploads import Spool, Upload

_MOST = 16
_MOST_SECONDS = 4 * 3600.0  # of all together; an hour takes 280 MB
_KEPT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Scored:
    """The windows of a recording as a task, or the router, scored them.

    Attributes:
        settings: with the window and the hop that were used.
        step, hop: of the grid, and from one window to the next, in samples.
        samples: how long the recording is.
        notes: what is to be said of the scores, as lines.
    """

    settings: EventSettings
    step: int
    hop: int
    samples: int
    windows: Sequence[ScoredWindow]
    notes: Sequence[str]

    def events(self, name: str, settings: EventSettings) -> list[Event]:
        """Return the events, and the rejected candidates, that other settings cut out of the same scores."""
        detector = EventDetector(name, settings, self.step, self.hop)
        found = list(chain.from_iterable(map(detector.add, self.windows)))
        return found + detector.finish(self.samples)


@dataclass(eq=False)
class Recording:
    """A recording that stays.

    Attributes:
        name: as the client calls it, safe to show.
        sound, columns: its files.
        seconds: how long it is.
        loudest: the largest value of its spectrogram.
        scored: what was found in it the last time; None before.
    """

    id: str
    name: str
    sound: Path
    columns: Path
    seconds: float
    loudest: int
    began: float = field(default_factory=time.monotonic)
    scored: Scored | None = None

    @property
    def upload(self) -> Upload:
        """It, as if it had been sent again."""
        return Upload(self.name, self.sound)

    def delete(self) -> None:
        """Delete its files."""
        self.sound.unlink(missing_ok=True)
        self.columns.unlink(missing_ok=True)


class Recordings:
    """The recordings of one service. For the event loop's thread, but for `decode`."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._kept: dict[str, Recording] = {}

    def decode(self, upload: Upload, limits: Limits) -> Recording:
        """Return a new recording, which is not kept yet. Raises AudioError and Refusal, as `decoding.blocks` does."""
        identity = uuid.uuid4().hex
        sound, columns = self._spool.place(f"{identity}.wav"), self._spool.place(f"{identity}.log-mel")
        found = Recording(identity, upload.name, sound, columns, 0.0, 0)
        limits = Limits(min(limits.seconds, _MOST_SECONDS), limits.deadline)
        log_mel, samples = LogMelColumns(), 0
        try:
            with (
                named_as_sent(upload),
                soundfile.SoundFile(sound, "w", SAMPLE_RATE, 1, "FLOAT", format="WAV") as wav,
                columns.open("wb") as file,
            ):
                for block in blocks(upload, limits, []):
                    wav.write(block)
                    samples += len(block)
                    found.loudest = max(found.loudest, _written(file.write, log_mel.add(block)))
                found.loudest = max(found.loudest, _written(file.write, log_mel.finish()))
        except soundfile.SoundFileError:
            found.delete()
            raise AudioError(f"{upload.name}: there is no room to decode it") from None
        except BaseException:
            found.delete()
            raise
        found.seconds = samples / SAMPLE_RATE
        return found

    def keep(self, recording: Recording) -> None:
        """Keep a recording for an hour, and forget those that came first where there are too many."""
        self._kept[recording.id] = recording
        others = [one for one in self._kept.values() if one is not recording]
        while others and (len(self._kept) > _MOST or sum(one.seconds for one in self._kept.values()) > _MOST_SECONDS):
            self.forget(others.pop(0).id)
        asyncio.get_running_loop().call_later(_KEPT_SECONDS, self.forget, recording.id)

    def one(self, identity: str) -> Recording:
        """Return a recording. Raises Refusal where there is none."""
        if identity not in self._kept:
            raise Refusal("not_found", "there is no such recording; they are kept for an hour: send it again")
        return self._kept[identity]

    def forget(self, identity: str) -> None:
        """Delete a recording, if it is there."""
        found = self._kept.pop(identity, None)
        if found is not None:
            found.delete()


def _written(write: Callable[[bytes], int], columns: bytes) -> int:
    """Write columns, and return the largest value in them."""
    write(columns)
    return max(columns, default=0)


def excerpt(recording: Recording, start: float, end: float) -> bytes:
    """Return a part of a recording as a WAV file. Raises Refusal where there is no such part."""
    first, last = (round(min(max(0.0, at), recording.seconds) * SAMPLE_RATE) for at in (start, end))
    if first >= last:
        raise Refusal("invalid", f"from {start:g} s to {end:g} s there is nothing of {recording.seconds:g} s")
    samples, _ = soundfile.read(recording.sound, last - first, first, dtype="float32")
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, "FLOAT", format="WAV")
    return file.getvalue()
