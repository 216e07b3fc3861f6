"""A clip as windows of exactly one second of sound at one level: neither length, padding nor level can be seen."""

import numpy as np

from cl_ast.audio import SAMPLE_RATE, Waveform

WINDOW_SECONDS = 1.0
_WINDOWS = 6  # at most, a clip
_QUIET = 50.0  # dB under the loudest 10 ms: silence
_PADDING = 40.0  # the same at either end, where faint noise may be padding
_LEVEL = 0.05  # RMS that every clip is brought to
_BLOCK = SAMPLE_RATE // 100


def windows_of(clip: Waveform) -> list[Waveform]:
    """At most six windows of exactly one second, spread over the clip.

    Silence is dropped first, since it may be padding; a shorter rest is repeated to a second. Where two pieces meet,
    one fades into the other: a click has every frequency, and would hide that a clip has no treble.
    """
    size = int(WINDOW_SECONDS * SAMPLE_RATE)
    heard = _joined(_heard(clip))
    heard = heard * (_LEVEL / max(float(np.sqrt(np.mean(heard.astype(np.float64) ** 2))), 1e-8))
    heard = heard.astype(np.float32)
    if len(heard) < size:
        times = -(-size // max(1, len(heard) - min(_BLOCK, len(heard) // 2)))
        return [_joined([heard] * (times + 1))[:size]]
    count = min(_WINDOWS, len(heard) // size)
    starts = np.linspace(0, len(heard) - size, count).round().astype(int)
    return [heard[start : start + size] for start in starts]


def _heard(clip: Waveform) -> list[Waveform]:
    """The runs of the clip that are not silent, in whole 10 ms blocks; all of it where it is silent throughout."""
    whole = len(clip) // _BLOCK * _BLOCK
    if not whole:
        return [clip]
    power = np.mean(clip[:whole].reshape(-1, _BLOCK).astype(np.float64) ** 2, axis=1)
    loudest = power.max()
    if loudest <= 0:
        return [clip]
    sounding = np.flatnonzero(power > loudest * 10 ** (-_PADDING / 10))
    first, last = sounding[0], sounding[-1] + 1
    keep = np.concatenate([[False], power[first:last] > loudest * 10 ** (-_QUIET / 10), [False]])
    edges = np.flatnonzero(np.diff(keep.astype(int))).reshape(-1, 2) + first
    return [clip[start * _BLOCK : end * _BLOCK] for start, end in edges]


def _joined(pieces: list[Waveform]) -> Waveform:
    """Pieces one after another, each fading into the next over at most 10 ms and half of it."""
    out = [pieces[0]]
    for piece in pieces[1:]:
        last = out.pop()
        fade = min(_BLOCK, len(last) // 2, len(piece) // 2)
        rising = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
        out.append(last[: len(last) - fade])
        out.append(last[len(last) - fade :] * (1 - rising) + piece[:fade] * rising)
        out.append(piece[fade:])
    return np.concatenate(out)
