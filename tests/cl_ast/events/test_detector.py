"""Events from the scores of windows: the grid, the median, hysteresis, bridged gaps, short events, change points."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cl_ast.errors import ClAstError
from cl_ast.events import Event, EventDetector, EventSettings, ScoredWindow, TaskScores, Threshold

STEP = 1_600  # 100 ms
PLAIN = EventSettings(median=0, min_duration=0, min_gap=0)


def _windows(scores: Sequence[float | None], step: int = STEP) -> list[ScoredWindow]:
    """One window a cell, end to end, with that score for "dog"; None where no task fits."""
    return [
        ScoredWindow(
            number * step,
            (number + 1) * step,
            [] if score is None else [TaskScores("pets", ("dog", "cat"), np.array([[score, 1 - score]]), step)],
        )
        for number, score in enumerate(scores)
    ]


def _found(scores: Sequence[float | None], settings: EventSettings = PLAIN, **changes: Any) -> list[Event]:
    detector = EventDetector("a.wav", replace(settings, **changes), STEP, STEP)
    found = [event for window in _windows(scores) for event in detector.add(window)]
    found += detector.finish(len(scores) * STEP)
    return [event for event in found if event.label != "cat"]


def _spans(events: Sequence[Event], why: str = "") -> list[tuple[float, float]]:
    return [(event.start, event.end) for event in events if event.why == why]


def test_an_event_reaches_on_and_stays_at_off_or_above() -> None:
    found = _found([0.1, 0.5, 0.7, 0.5, 0.46, 0.2, 0.5, 0.5, 0.1])
    assert _spans(found) == [(0.1, 0.5)]
    assert _spans(found, "below on") == [(0.6, 0.8)]
    (event, rejected) = found
    assert event.to_json() == {
        "path": "a.wav",
        "start": 0.1,
        "end": 0.5,
        "label": "dog",
        "task": "pets",
        "score_max": 0.7,
        "score_mean": 0.54,
        "windows": 4,
    }
    assert rejected.to_json()["why"] == "below on"
    assert [Event.from_json(one.to_json()) for one in found] == found


def test_gaps_are_bridged_and_then_short_events_dropped() -> None:
    scores = [0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9]
    assert _spans(_found(scores, min_gap=0.3)) == [(0.0, 0.4), (0.7, 0.9)]
    found = _found(scores, min_gap=0.3, min_duration=0.3)
    assert _spans(found) == [(0.0, 0.4)]
    assert _spans(found, "too short") == [(0.7, 0.9)]
    assert _spans(_found(scores, min_gap=0.2, min_duration=0.2)) == [(0.7, 0.9)]


def test_a_bridged_event_counts_its_windows_and_scores_once() -> None:
    (event,) = _found([0.0, 0.8, 0.2, 0.5, 0.2, 0.8, 0.0], min_gap=0.4)
    assert (event.start, event.end, event.windows) == (0.1, 0.6, 5)
    assert event.score_mean == pytest.approx(0.5)


def test_the_median_leaves_out_single_windows() -> None:
    assert _spans(_found([0.1, 0.1, 0.9, 0.1, 0.1, 0.9, 0.9, 0.1, 0.9, 0.9], median=0.3)) == [(0.5, 1.0)]


def test_pads_stay_within_the_recording() -> None:
    assert _spans(_found([0.9, 0.1, 0.1, 0.1, 0.9], pad=0.15)) == [(0.0, 0.25), (0.25, 0.5)]


def test_a_class_may_have_thresholds_of_its_own() -> None:
    strict = {("pets", "dog"): Threshold.of(0.95)}
    assert _spans(_found([0.1, 0.9, 0.1], thresholds=strict)) == []
    assert Threshold.of(0.1) == Threshold(0.1, 0.0)
    with pytest.raises(ClAstError, match="0 <= off <= on <= 1"):
        Threshold.of(0.5, 0.6)
    with pytest.raises(ClAstError, match="--min-gap of -1 s"):
        EventSettings(min_gap=-1)


def test_unknown_is_a_state_and_no_class() -> None:
    found = _found([0.9, 0.9, None, None, None, 0.9])
    assert _spans(found) == [(0.0, 0.2), (0.5, 0.6)]
    (unknown,) = [event for event in found if event.why == "unknown"]
    assert (unknown.start, unknown.end, unknown.label, unknown.windows) == (0.2, 0.5, None, 3)


def test_overlapping_windows_share_a_grid() -> None:
    """A cell has the mean of the windows that cover its middle, and an event the windows that cover a part of it."""
    detector = EventDetector("a.wav", replace(PLAIN, threshold=Threshold.of(0.6)), STEP, 2 * STEP)
    scores = [0.0, 0.0, 0.8, 0.8, 0.0, 0.0]
    found: list[Event] = []
    for number, score in enumerate(scores):
        values = TaskScores("pets", ("dog",), np.array([[score]]), 4 * STEP)
        found += detector.add(ScoredWindow(number * 2 * STEP, (number * 2 + 4) * STEP, [values]))
    found += detector.finish(14 * STEP)
    (event,) = [one for one in found if not one.why]
    assert (event.start, event.end, event.windows) == (0.6, 0.8, 2)  # both windows cover it, and no other


def test_steps_within_a_window_are_placed_in_time() -> None:
    values = TaskScores("pets", ("dog",), np.array([[0.1], [0.9], [0.9], [0.1], [0.1]]), STEP)
    detector = EventDetector("a.wav", PLAIN, STEP, 5 * STEP)
    found = detector.add(ScoredWindow(0, 5 * STEP, [values])) + detector.finish(5 * STEP)
    assert _spans(found) == [(0.1, 0.3)]


def test_what_goes_on_is_known_before_it_ends() -> None:
    detector = EventDetector("a.wav", replace(PLAIN, min_duration=0.2), STEP, STEP)
    sounding = []
    for window in _windows([0.1, 0.9, 0.9, 0.9, 0.1]):
        detector.add(window)
        sounding.append(_spans([event for event in detector.sounding if event.label == "dog"]))
    assert sounding == [[], [], [(0.1, 0.3)], [(0.1, 0.4)], []]


def test_change_points_find_the_extent_before_the_threshold() -> None:
    scores = [0.1, 0.1, 0.1, 0.5, 0.9, 0.9, 0.5, 0.1, 0.1, 0.1, 0.4, 0.4, 0.4, 0.1, 0.1]
    spans = {on: _spans(_found(scores, method="sebb", median=0.4, threshold=Threshold.of(on))) for on in (0.3, 0.6)}
    assert spans[0.6] == [(0.3, 0.7)]
    assert spans[0.3] == [(0.3, 0.7), (1.0, 1.3)]  # The first box is the same whatever the threshold.


@pytest.mark.slow
def test_times_do_not_drift() -> None:
    step = 2_560
    detector = EventDetector("a.wav", PLAIN, step, step)
    scores = [0.9 if number == 10_000 else 0.1 for number in range(10_002)]
    found = [event for window in _windows(scores, step) for event in detector.add(window) if event.label == "dog"]
    assert [(one.start, one.end) for one in found] == [(1_600.0, 1_600.16)]
