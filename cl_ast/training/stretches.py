"""Which stretch of a clip is taken that is longer than the front end takes."""

from collections.abc import Sequence

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.audio.recordings import MUCH, Loudness, loudest, sounding, window_starts


def size_if_longer(waveform: Waveform, front_end: FrontEnd) -> int | None:
    """Return how many samples the front end takes, if the clip is longer by more than 0.1 s."""
    size = round(front_end.seconds * SAMPLE_RATE)
    return size if len(waveform) > size + MUCH * SAMPLE_RATE else None


def all_windows(waveform: Waveform, front_end: FrontEnd) -> Sequence[int | None]:
    """Return where the windows of a clip begin that sound; None for a clip that is not longer."""
    size = size_if_longer(waveform, front_end)
    if size is None:
        return [None]
    return sounding(Loudness([waveform]), window_starts(len(waveform), size), size)


def stretch(waveform: Waveform, size: int, crop: str, start: int | None) -> Waveform:
    """Return what is taken of a longer clip.

    Args:
        crop: "start", or the "loudest" stretch.
        start: where the stretch begins instead, in samples; None for what `crop` says.
    """
    if start is None and crop == "start":
        return waveform  # of which the front end takes the start
    begin = loudest(Loudness([waveform]), size) if start is None else start
    return waveform[begin : begin + size]
