"""What `calibrate` returns passes the check of what is read, and what it cannot have returned does not."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.errors import CorruptRegistryError, StreamError
from cl_ast.router import KINDS, learn
from cl_ast.router.calibration import LOWEST, UNCALIBRATED, calibrate, check_confidence, check_fits

FITS = st.lists(st.floats(-2, 1, width=32), min_size=2, max_size=150)
OTHERS = [math.nan, math.inf, -math.inf, 3e38, -2.5, 1.5, LOWEST]


@pytest.mark.slow
@given(FITS)
def test_a_calibration_passes(fits: list[float]) -> None:
    made = calibrate(torch.tensor(fits))
    if made[5] < made[100]:
        check_fits(made)
    else:  # all of these clips fit equally well
        with pytest.raises(CorruptRegistryError, match="constant"):
            check_fits(made)


@pytest.mark.slow
@given(st.lists(st.floats(-1, 0, width=32), min_size=1, max_size=150))
def test_a_calibration_of_confidence_passes(values: list[float]) -> None:
    check_confidence(calibrate(torch.tensor(values)))  # a head may be equally confident of all clips
    check_confidence(UNCALIBRATED)


@pytest.mark.slow
@given(FITS, st.integers(5, 100), st.sampled_from(OTHERS))
def test_a_statistic_that_is_no_fit_is_refused(fits: list[float], place: int, value: float) -> None:
    made = calibrate(torch.tensor(fits))
    made[place] = value
    for check in (check_fits, check_confidence):
        with pytest.raises(CorruptRegistryError):
            check(made)


@pytest.mark.slow
@given(FITS, st.integers(1, 99))
@settings(max_examples=200)
def test_statistics_that_fall_or_differ_within_a_rank_are_refused(fits: list[float], place: int) -> None:
    """A statistic is lowered below the one before it, or raised where few clips make it equal to its neighbours."""
    made = calibrate(torch.tensor(fits))
    lower, higher = made.clone(), made.clone()
    lower[place + 1] = made[place] - 0.1
    with pytest.raises(CorruptRegistryError):
        check_fits(lower)
    if len(fits) <= 20 and place > 5 and made[place - 1] == made[place] < made[place + 1]:
        higher[place] = (made[place] + made[place + 1]) / 2
        if made[place] < higher[place] < made[place + 1]:
            with pytest.raises(CorruptRegistryError):
                check_fits(higher)


@pytest.mark.parametrize("value", [LOWEST, -2.0, 0.0, 0.5, 1.0])
def test_a_constant_is_refused(value: float) -> None:
    with pytest.raises(CorruptRegistryError):
        check_fits(torch.full((101,), value))


@pytest.mark.parametrize("kind", list(KINDS))
def test_copies_of_one_clip_teach_no_routing(kind: str) -> None:
    clip = torch.nn.functional.normalize(torch.ones(1, 512), dim=1)
    with pytest.raises(StreamError, match="sound alike"):
        learn(clip.repeat(12, 1), [0] * 12, clip.repeat(4, 1), generator=torch.Generator(), kind=kind)
