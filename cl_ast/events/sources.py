"""Where live sound comes from: a device, a pipe of raw samples, or a file that is played as fast as it is read."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO

import numpy as np

from cl_ast.audio import reading
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.errors import AudioError, ClAstError
from cl_ast.events.raw_sound import RawSound, Resampler, Samples, SoundFormat

_READ = 2**15  # bytes that are read from a pipe at once, or fewer where fewer are there
_PATIENCE = 2.0  # seconds without a sample after which a device counts as unplugged


@dataclass(frozen=True, slots=True)
class Piece:
    """The next samples of a source: as they were recorded (samples, channels), and mono at 16 kHz."""

    recorded: Samples
    waveform: Waveform


class _Decoder:
    """Makes pieces of raw bytes. What is no number becomes silence."""

    def __init__(self, format: SoundFormat) -> None:
        self._sound, self._resampler = RawSound(format), Resampler(format.rate)

    def add(self, data: bytes) -> Piece:
        recorded: Samples = np.nan_to_num(self._sound.add(data), nan=0.0, posinf=0.0, neginf=0.0)
        return Piece(recorded, self._resampler.add(recorded))

    def finish(self) -> Piece:
        return Piece(np.zeros((0, self._sound.format.channels), np.float32), self._resampler.finish())


def from_pipe(pipe: BinaryIO, format: SoundFormat) -> Iterator[Piece]:
    """Yield the raw samples of a pipe as they come, until it ends. Raises AudioError where it cannot be read."""
    decoder = _Decoder(format)
    read = getattr(pipe, "read1", pipe.read)  # what is there, without waiting for more
    try:
        while data := read(_READ):
            yield decoder.add(data)
    except (OSError, ValueError) as error:
        raise AudioError(f"standard input: cannot be read ({error})") from None
    yield decoder.finish()


def from_file(path: Path) -> Iterator[Piece]:
    """Yield a recording, whose clips are cut at 16 kHz, too. Raises AudioError as `reading.stream` does."""
    for block in reading.stream(path, lenient=True):
        yield Piece(block[:, None], block)


def from_device(device: str, format: SoundFormat) -> Generator[Piece, None, None]:
    """Yield what a device records, until the generator is closed.

    Args:
        device: its number, a part of its name, or "default".

    Raises:
        ClAstError: sounddevice is not installed, or there is no such device.
        AudioError: the device was unplugged.
    """
    sounddevice = _sounddevice()
    coming: SimpleQueue[bytes] = SimpleQueue()
    decoder = _Decoder(format)
    try:
        stream = sounddevice.RawInputStream(
            samplerate=format.rate,
            device=_device(device),
            channels=format.channels,
            dtype=format.dtype.name,
            callback=lambda data, *_: coming.put(bytes(data)),
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        names = ", ".join(f"{one['index']} {one['name']}" for one in sounddevice.query_devices() if _records(one))
        raise ClAstError(f"{device}: cannot be listened to ({error}); there are: {names or 'no microphones'}") from None
    with stream:
        while True:
            try:
                data = coming.get(timeout=_PATIENCE)
            except Empty:
                raise AudioError(f"{device}: gives no more sound; is it still plugged in?") from None
            yield decoder.add(data)


def default_rate(device: str) -> int:
    """Return the rate that a device prefers, in Hz; 16 kHz where it does not say."""
    sounddevice = _sounddevice()
    try:
        return int(sounddevice.query_devices(_device(device), "input")["default_samplerate"])
    except (sounddevice.PortAudioError, ValueError, KeyError):
        return SAMPLE_RATE


def _device(device: str) -> int | str | None:
    """Return a device as sounddevice names it: its number, a part of its name, or None for the default."""
    return None if device == "default" else int(device) if device.isdecimal() else device


def _records(device: Any) -> bool:
    return bool(device["max_input_channels"] > 0)


def _sounddevice() -> Any:
    """Return the package. Raises ClAstError where it, or PortAudio, is not installed."""
    try:
        import sounddevice
    except ImportError:
        raise ClAstError("listening to a microphone needs sounddevice: pip install 'cl-ast[live]'") from None
    except OSError as error:
        raise ClAstError(f"the library PortAudio cannot be loaded ({error}); install it, or give --input -") from None
    return sounddevice
