"""Accuracies as people read them: counts with an interval for few clips."""

import pytest

from cl_ast.evaluation.shown_accuracy import (
    clip_count,
    counted,
    in_sentence,
    interval,
    of_clips,
    right_of,
    with_interval,
)


@pytest.mark.parametrize(
    ("share", "clips", "short", "long", "sentence"),
    [
        (1.0, 2, "2 of 2", "2 of 2 (34–100 %)", "2 of 2 (34–100 %)"),
        (8 / 15, 15, "8 of 15", "8 of 15 (30–75 %)", "8 of 15 (30–75 %)"),
        (0.0, 4, "0 of 4", "0 of 4 (0–49 %)", "0 of 4 (0–49 %)"),
        (77 / 99, 99, "77 of 99", "77 of 99 (69–85 %)", "77 of 99 (69–85 %)"),
        (0.77, 100, "77.0", "77.0", "77.0%"),
        (0.77, None, "77.0", "77.0", "77.0%"),
        (None, 5, "–", "–", "–"),
    ],
)
def test_few_clips_are_counted(share: float | None, clips: int | None, short: str, long: str, sentence: str) -> None:
    assert counted(share, clips) == short
    assert with_interval(share, clips) == long
    assert in_sentence(share, clips) == sentence


@pytest.mark.parametrize(("value", "count"), [(15, 15), (0, None), (True, None), ("15", None), (10**400, None)])
def test_the_record_of_a_stranger_may_say_anything_of_its_clips(value: object, count: int | None) -> None:
    assert clip_count({"test_clips": value}, "test") == count
    assert clip_count({}, "test") is None


def test_what_is_counted_has_an_interval_as_rough_as_it_is() -> None:
    assert right_of(6, 6) == "6 of 6 right (61–100 %)"
    assert right_of(172, 200) == "172 of 200 right, 86.0 % (80.5–90.1 %)"
    assert right_of(0, 0) == "0 of 0 right (– %)"
    assert (interval(8, 15), interval(0, 0)) == ("30–75", "–")
    assert (of_clips(1.0, 6), of_clips(0.86, 200)) == ("6 of 6 clips", "86.0 % of clips")
