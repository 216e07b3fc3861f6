"""Extracts the sound that describes a clip to the router: at a fixed level, at most three seconds, little silence."""

import numpy as np
import numpy.typing as npt

from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.audio.recordings import Recording, sounding

_LONGEST = 3 * SAMPLE_RATE
SHORTEST = 3 * SAMPLE_RATE // 10
STEP = SAMPLE_RATE // 10  # lengths are multiples of this, so that many clips have the same length and form a batch
_SILENCE = 50.0  # blocks this many dB below the loudest block are silence
_SILENCE_AT_ENDS = 40.0  # the same for both ends of a clip, where faint noise may be padding
_DIGITAL_SILENCE = 80.0  # the same for silence that no microphone records
_MARGIN = 25  # blocks of silence that stay before and after each sound
LEVEL = 0.05  # the RMS of every sound
BLOCK = SAMPLE_RATE // 100  # 10 ms
_WHOLE = 10.24  # seconds; the longest clip that is described whole, as no task on a folder of clips takes more
_SECOND = SAMPLE_RATE + BLOCK  # 10 ms more than a second, for the crossfades
_ROWS = 2**13  # blocks whose power is computed at once


def sound_of(clip: Waveform) -> Waveform:
    """Return the sound in a clip, in whole tenths of a second; a sound shorter than 0.3 s is repeated.

    Digital silence is dropped. Of other silence a quarter of a second stays beside each sound, and as much of the faint
    ends. Of a sound longer than three seconds, one second each from the beginning, the middle and the end is used. The
    result does not depend on the level of the clip, on digital silence around it, or on more than a quarter of a second
    of faint noise. It does depend on its length and on faint noise, which is why a task also learns from parts of its
    clips and from clips with noise around them (`copies`).
    """
    return shaped(without_silence(clip, _MARGIN))


def shaped(sound: Waveform) -> Waveform:
    """Return a sound as `sound_of` does, but with all of its silence."""
    if len(sound) > _LONGEST:
        starts = (0, (len(sound) - _SECOND) // 2, len(sound) - _SECOND)
        sound = crossfaded([sound[start : start + _SECOND] for start in starts])[:_LONGEST]
    sound = repeated(sound, max(SHORTEST, len(sound) // STEP * STEP))
    level = max(float(np.sqrt(np.mean(sound.astype(np.float64) ** 2))), 1e-8)
    return (sound * (LEVEL / level)).astype(np.float32)


def part_to_describe(clip: Recording | Waveform) -> Waveform:
    """Return the part of a clip that the router describes: all of it, or of a longer one than 10.24 s three seconds.

    They are the first, the middle and the last of the whole seconds that sound (`sounding`), so that neither silence
    nor faint noise in a long recording decides which task it is sent to.
    """
    if not isinstance(clip, Recording):
        if len(clip) <= _WHOLE * SAMPLE_RATE:
            return clip
        clip = Recording.of(clip)
    elif clip.samples <= _WHOLE * SAMPLE_RATE:
        return next(clip.cut([0], clip.samples))
    starts = range(0, max(0, clip.samples - _SECOND) + 1, SAMPLE_RATE)
    loud = sounding(clip.loudness, starts, _SECOND)
    chosen = [loud[0], loud[len(loud) // 2], loud[-1]] if len(loud) > 3 else loud
    return crossfaded(list(clip.cut(chosen, _SECOND)))[:_LONGEST]


def without_silence(clip: Waveform, margin: int = 0) -> Waveform:
    """Return the clip without silence and without faint ends, which may be padding; a silent clip is returned whole.

    Args:
        margin: how many blocks of 10 ms of silence stay before and after each sound; digital silence never does.
    """
    return crossfaded(_audible_parts(clip, margin))


def repeated(clip: Waveform, samples: int) -> Waveform:
    """Return exactly this many samples: the beginning of the clip, or the clip repeated."""
    if len(clip) >= samples:
        return clip[:samples]
    if not len(clip):
        return np.zeros(samples, np.float32)
    times = -(-samples // max(1, len(clip) - min(BLOCK, len(clip) // 2)))
    return crossfaded([clip] * (times + 1))[:samples]


def _audible_parts(clip: Waveform, margin: int) -> list[Waveform]:
    """Return the parts of the clip that are not silent, in whole 10 ms blocks, with `margin` blocks around each."""
    whole = len(clip) // BLOCK * BLOCK
    if not whole:
        return [clip]
    power = _powers(clip[:whole].reshape(-1, BLOCK))
    loudest = power.max()
    if loudest <= 0:
        return [clip]
    loud = np.flatnonzero(power > loudest * 10 ** (-_SILENCE_AT_ENDS / 10))
    audible = power > loudest * 10 ** (-_SILENCE / 10)
    audible[: loud[0]] = audible[loud[-1] + 1 :] = False
    if margin:
        near = np.convolve(audible, np.ones(2 * margin + 1))[margin:-margin] > 0.5
        audible = near & (power > loudest * 10 ** (-_DIGITAL_SILENCE / 10))
    edges = np.flatnonzero(np.diff(np.pad(audible, 1).astype(int))).reshape(-1, 2)
    return [clip[start * BLOCK : end * BLOCK] for start, end in edges]


def _powers(blocks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the mean square of each row, some rows at a time: an hour in double precision takes half a gigabyte."""
    return np.concatenate(
        [
            np.mean(blocks[first : first + _ROWS].astype(np.float64) ** 2, axis=1)
            for first in range(0, len(blocks), _ROWS)
        ]
    )


def crossfaded(pieces: list[Waveform]) -> Waveform:
    """Concatenate pieces, with crossfades over at most 10 ms and at most half of a piece.

    Without crossfades there would be clicks, which have all frequencies and would hide that a clip has no treble.
    """
    out = [pieces[0]]
    for piece in pieces[1:]:
        last = out.pop()
        fade = min(BLOCK, len(last) // 2, len(piece) // 2)
        rising = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
        out.append(last[: len(last) - fade])
        out.append(last[len(last) - fade :] * (1 - rising) + piece[:fade] * rising)
        out.append(piece[fade:])
    return np.concatenate(out)
