"""Sounds and files that the tests of reading are made of."""

import io
import struct

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 16_000
# Raw samples have no header, and the sound of a Sound Designer file lies in another file. MIDI dumps are not read.
UNREAD = {"RAW", "SD2", "SDS"}


def tone(seconds: float = 1.0, hertz: float = 440.0, rate: int = RATE) -> npt.NDArray[np.float32]:
    """Return a sine with some noise, so that no codec makes it small."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(3).normal(0, 0.02, len(time))
    return (0.4 * np.sin(2 * np.pi * hertz * time) + noise).astype(np.float32)


def encoded(samples: npt.NDArray[np.float32], form: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


def writable() -> list[tuple[str, str]]:
    """Return every container and codec that libsndfile writes at 16 kHz, and that is read."""
    found = []
    for form in sorted(set(soundfile.available_formats()) - UNREAD):
        for subtype in sorted(soundfile.available_subtypes(form)):
            try:
                encoded(tone(0.1), form, subtype)
            except soundfile.LibsndfileError:
                continue
            found.append((form, subtype))
    return found


def fmt(channels: int = 1, rate: int = RATE, bits: int = 16) -> bytes:
    block = channels * bits // 8
    return b"fmt " + struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * block & 0xFFFFFFFF, block, bits)


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def pcm(samples: npt.NDArray[np.float32]) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()
