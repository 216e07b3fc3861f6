"""Measures how often the router says "unknown" of what is none of its tasks: silence, noise, a task that it lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.audio.windows import Segment
from cl_ast.batching import chunks
from cl_ast.evaluation.details import Share
from cl_ast.excerpts import Place
from cl_ast.inference.answering import answer
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, Step
from cl_ast.router import Router, decide, part_to_describe

_LENGTHS = (1.0, 3.0)  # seconds; the router describes at most three
_OF_EACH = 10  # clips of each length and kind
_COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}
"""Kinds of noise, by the exponent with which their power falls with the frequency."""
_MOST = 200  # test clips of a task that is left out
_CHUNK = 64  # clips


@dataclass(frozen=True, slots=True)
class UnknownShare:
    """How many clips of one kind the router calls unknown.

    Attributes:
        what: "silence", "noise", "test clips of the tasks", or the name of the task that was left out.
        left_out: whether it is a task, whose clips were routed to the others only.
        unknown: the clips, of which those called unknown are `right`.
    """

    what: str
    left_out: bool
    unknown: Share


def unknown_shares(
    session: Session, test_clips: Mapping[str, Sequence[Place]], progress: Progress
) -> list[UnknownShare]:
    """Return the shares for silence, noise, and each task that can be routed to and whose clips are here.

    A clip is routed as `predict` routes it, with the tie-break between two tasks.

    Args:
        test_clips: where each task's test clips are.

    Raises:
        TaskNotFoundError, RegistryError: there is no router (`RegistryRouting.router`).
    """
    router = session.routing.router()
    random = np.random.default_rng(0)
    found = [
        UnknownShare("silence", False, _share_of_made(session, router, _silence(random))),
        UnknownShare("noise", False, _share_of_made(session, router, _noise(random))),
    ]
    routings = session.routing.tasks()
    left_out = {name: places for name, places in test_clips.items() if name in routings and len(routings) > 1}
    for done, (name, places) in enumerate(left_out.items(), 1):
        others = Router({other: one for other, one in routings.items() if other != name}, session.routing.space.noise)
        found.append(UnknownShare(name, True, _share_of_files(session, others, _evenly(places))))
        progress(Step("leaving each task out", done, len(left_out)))
    return found


def _share_of_files(session: Session, router: Router, places: Sequence[Place]) -> Share:
    unknown = 0
    for part in chunks(len(places), _CHUNK):
        mine = [places[index] for index in part]
        waveforms = session.clips.read(mine)
        parts = [part_to_describe(waveform) for waveform in waveforms]
        described = session.descriptions.describe(session.routing.space, mine, parts)
        unknown += _count_unknown(session, router, waveforms, described)
    return Share(unknown, len(places))


def _share_of_made(session: Session, router: Router, waveforms: Sequence[Waveform]) -> Share:
    described = session.routing.space.describe([part_to_describe(waveform) for waveform in waveforms])
    return Share(_count_unknown(session, router, waveforms, described), len(waveforms))


def _count_unknown(session: Session, router: Router, waveforms: Sequence[Waveform], described: Tensor) -> int:
    segments = [Segment("", waveform) for waveform in waveforms]
    decided = decide(router, described, lambda pairs: answer(session, [(segments[row], task) for row, task in pairs]))
    return sum(not route.known for route, _ in decided)


def _silence(random: np.random.Generator) -> list[Waveform]:
    """Return clips without sound: of each length one of zeros, the others with the rounding noise of 16 bits."""
    found = []
    for place, samples in enumerate(_lengths()):
        rounding = random.integers(-1, 2, samples) / 2**15
        found.append((rounding * (place % _OF_EACH > 0)).astype(np.float32))
    return found


def _noise(random: np.random.Generator) -> list[Waveform]:
    """Return white, pink and brown noise at levels from -50 to -10 dB."""
    found = []
    for exponent in _COLOURS.values():
        for samples in _lengths():
            spectrum = np.fft.rfft(random.normal(size=samples))
            spectrum[1:] *= np.arange(1, len(spectrum)) ** (-exponent / 2)
            signal = np.fft.irfft(spectrum, samples)
            signal *= 10 ** (random.uniform(-50, -10) / 20) / np.abs(signal).max()
            found.append(signal.astype(np.float32))
    return found


def _lengths() -> list[int]:
    return [round(seconds * SAMPLE_RATE) for seconds in _LENGTHS for _ in range(_OF_EACH)]


def _evenly(places: Sequence[Place]) -> list[Place]:
    step = max(1.0, len(places) / _MOST)
    return [places[int(number * step)] for number in range(min(len(places), _MOST))]
