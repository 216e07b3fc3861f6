"""Sound that comes in pieces: whatever the pieces, the same windows and the same events as for the whole."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.audio.reading import Waveform
from cl_ast.events import Event, EventSettings, EventsOf, StreamDetector, Threshold, WindowScorer
from cl_ast.manager import Manager
from tests.cli.sounds import RATE, SOUNDS

EAGER = EventSettings(task="tones", threshold=Threshold.of(0.5), median=0.3, min_duration=0.1, min_gap=0.1, hop=0.2)


def soundscape() -> Waveform:
    """Six seconds of faint noise with a low tone, a high one, and noise."""
    random = np.random.default_rng(11)
    samples = random.normal(0, 0.002, 6 * RATE).astype(np.float32)
    for at, task, label in ((0.7, "tones", "low"), (2.4, "tones", "high"), (4.3, "noises", "hiss")):
        first = round(at * RATE)
        time = np.arange(round(0.9 * RATE)) / RATE
        samples[first : first + len(time)] += (0.5 * SOUNDS[task][label](random, time)).astype(np.float32)
    return samples


@pytest.fixture(scope="module")
def manager(stages: dict[str, Path]) -> Iterator[Manager]:
    with Manager.open(stages["chirps"], device="cpu") as opened:
        yield opened


def _whole(scorer: WindowScorer, samples: Waveform, group: int = 1) -> list[Event]:
    detector = StreamDetector(scorer, group=group)
    return detector.add(samples) + detector.finish()


@pytest.mark.slow
@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize(
    "wanted",
    [
        EventSettings(task="tones", median=0.3, min_duration=0.1, hop=0.2),
        EventSettings(task="auto", median=0.3, min_duration=0.1, hop=0.2),
        EventSettings(task="auto", median=0.3, min_duration=0.1, hop=0.2, route="sticky"),
        EventSettings(task="all", median=0.3, min_duration=0.1, hop=0.2),
    ],
    ids=["tones", "auto", "sticky", "all"],
)
def test_pieces_of_any_length_give_the_same_events(manager: Manager, wanted: EventSettings, group: int) -> None:
    scorer = WindowScorer(manager.session, wanted)
    samples = soundscape()
    whole = _whole(scorer, samples, group)
    assert whole

    @settings(max_examples=4, deadline=None)
    @given(st.lists(st.integers(1, 3 * RATE), max_size=12))
    def check(sizes: list[int]) -> None:
        detector = StreamDetector(scorer, group=group)
        found = [event for piece in np.split(samples, np.cumsum(sizes)) for event in detector.add(piece)]
        assert found + detector.finish() == whole

    check()


def test_a_recording_is_detected_as_its_stream(manager: Manager, tmp_path: Path) -> None:
    scorer = WindowScorer(manager.session, EAGER)
    soundfile.write(tmp_path / "a.wav", soundscape(), RATE, subtype="FLOAT")
    recording = EventsOf(str(tmp_path / "a.wav"), scorer)
    spans = [(one.first, one.stop, one.label, one.windows, one.why) for one in recording]
    assert spans == [(one.first, one.stop, one.label, one.windows, one.why) for one in _whole(scorer, soundscape())]
    assert (recording.samples, recording.seconds, recording.trouble) == (6 * RATE, 6.0, None)
    assert "low" in {label for _, _, label, _, why in spans if not why}


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.3, 0.5, 0.6])
def test_a_short_recording_has_a_window(manager: Manager, seconds: float) -> None:
    windows: list[object] = []
    detector = StreamDetector(WindowScorer(manager.session, EAGER), watch=windows.append)
    detector.add(soundscape()[: round(seconds * RATE)])
    found = detector.finish()
    assert bool(windows) == (seconds > 0)
    assert all(event.stop <= seconds * RATE for event in found)
