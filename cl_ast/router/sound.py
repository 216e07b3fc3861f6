"""What of a clip the router hears: its sound, at one level and without silence, for three seconds at most."""

import numpy as np
import numpy.typing as npt

from cl_ast.audio.reading import SAMPLE_RATE, Waveform

_LONGEST = 3 * SAMPLE_RATE
SHORTEST = 3 * SAMPLE_RATE // 10
_STEP = SAMPLE_RATE // 10  # lengths are multiples of it, so that clips go in batches
_QUIET = 50.0  # dB under the loudest 10 ms: silence
_PADDING = 40.0  # the same at either end, where faint noise may be padding
_LEVEL = 0.05  # RMS that every clip is brought to
_BLOCK = SAMPLE_RATE // 100
_ROWS = 2**13


def sound_of(clip: Waveform) -> Waveform:
    """The sound in a clip, in whole tenths of a second; less than 0.3 s is repeated.

    Of more than three seconds one is heard at the beginning, in the middle and at the end. Neither padding nor level
    can be seen. Length can: a task learns from parts of its clips too (`altered`).
    """
    heard = without_silence(clip)
    if len(heard) > _LONGEST:
        piece = _LONGEST // 3 + _BLOCK  # they overlap where they meet
        starts = (0, (len(heard) - piece) // 2, len(heard) - piece)
        heard = _joined([heard[start : start + piece] for start in starts])[:_LONGEST]
    heard = repeated(heard, max(SHORTEST, len(heard) // _STEP * _STEP))
    level = max(float(np.sqrt(np.mean(heard.astype(np.float64) ** 2))), 1e-8)
    return (heard * (_LEVEL / level)).astype(np.float32)


def without_silence(clip: Waveform) -> Waveform:
    """The clip without what may be padding: faint ends and silence; all of it where it is silent throughout."""
    return _joined(_sounding(clip))


def repeated(clip: Waveform, samples: int) -> Waveform:
    """Exactly so many samples: the beginning of the clip, or the clip again and again."""
    if len(clip) >= samples:
        return clip[:samples]
    if not len(clip):
        return np.zeros(samples, np.float32)
    times = -(-samples // max(1, len(clip) - min(_BLOCK, len(clip) // 2)))
    return _joined([clip] * (times + 1))[:samples]


def _sounding(clip: Waveform) -> list[Waveform]:
    """The runs of the clip that are not silent, in whole 10 ms blocks."""
    whole = len(clip) // _BLOCK * _BLOCK
    if not whole:
        return [clip]
    power = _powers(clip[:whole].reshape(-1, _BLOCK))
    loudest = power.max()
    if loudest <= 0:
        return [clip]
    sounding = np.flatnonzero(power > loudest * 10 ** (-_PADDING / 10))
    first, last = sounding[0], sounding[-1] + 1
    keep = np.concatenate([[False], power[first:last] > loudest * 10 ** (-_QUIET / 10), [False]])
    edges = np.flatnonzero(np.diff(keep.astype(int))).reshape(-1, 2) + first
    return [clip[start * _BLOCK : end * _BLOCK] for start, end in edges]


def _powers(blocks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The mean square of each row, some rows at a time: an hour in double precision takes half a gigabyte."""
    return np.concatenate(
        [
            np.mean(blocks[first : first + _ROWS].astype(np.float64) ** 2, axis=1)
            for first in range(0, len(blocks), _ROWS)
        ]
    )


def _joined(pieces: list[Waveform]) -> Waveform:
    """Pieces one after another, each fading into the next over at most 10 ms and half of it.

    A click has every frequency, and would hide that a clip has no treble.
    """
    out = [pieces[0]]
    for piece in pieces[1:]:
        last = out.pop()
        fade = min(_BLOCK, len(last) // 2, len(piece) // 2)
        rising = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
        out.append(last[: len(last) - fade])
        out.append(last[len(last) - fade :] * (1 - rising) + piece[:fade] * rising)
        out.append(piece[fade:])
    return np.concatenate(out)
