"""Metrics against a calculation by hand, and what they are on the way to it: one task, nothing measured, gaps."""

from collections.abc import Callable
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.evaluation.metrics import (
    average_accuracy,
    average_incremental_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    learned_accuracy,
    of_cells,
)

Matrix = list[list[float | None]]

# By hand: ACC (.85+.7+.9)/3; AIA (.9 + .875 + .81667)/3; BWT ((.85-.9) + (.7-.8))/2;
# forgetting ((max(.9,.95)-.85) + (.8-.7))/2; FWT ((.12-.1) + (.08-.1))/2; learned (.9+.8+.9)/3.
FULL: Matrix = [[0.9, 0.12, 0.1], [0.95, 0.8, 0.08], [0.85, 0.7, 0.9]]
TRIANGLE: Matrix = [[0.9, None, None], [0.95, 0.8, None], [0.85, 0.7, 0.9]]

BY_HAND: dict[Callable[[Matrix], float | None], float] = {
    average_accuracy: 0.8167,
    average_incremental_accuracy: 0.8639,
    learned_accuracy: 0.8667,
    backward_transfer: -0.075,
    forgetting: 0.10,
}
ALL = list(BY_HAND)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("matrix", [FULL, TRIANGLE], ids=["full", "triangle"])
def test_three_tasks_by_hand(metric: Callable[[Matrix], float | None], matrix: Matrix) -> None:
    before = deepcopy(matrix)
    assert metric(matrix) == pytest.approx(BY_HAND[metric], abs=1e-4)
    assert matrix == before


def test_forward_transfer_by_hand() -> None:
    assert forward_transfer(FULL, [0.1, 0.1, 0.1]) == pytest.approx(0, abs=1e-4)
    assert forward_transfer(FULL, [0.1, 0.02, 0.1]) == pytest.approx(0.04, abs=1e-4)


def test_forward_transfer_is_undefined_where_no_head_was_there_before() -> None:
    assert forward_transfer(TRIANGLE, [0.1] * 3) is None
    assert forward_transfer([[0.9]], [0.1]) is None
    assert forward_transfer([], []) is None


def test_forgetting_is_from_the_best_and_backward_transfer_from_the_first() -> None:
    """The two definitions that libraries mix up: one matrix, other signs."""
    matrix: Matrix = [[0.5, None, None], [0.9, 0.6, None], [0.7, 0.6, 0.8]]
    assert forgetting(matrix) == pytest.approx((0.2 + 0.0) / 2)
    assert backward_transfer(matrix) == pytest.approx((0.2 + 0.0) / 2)


def test_a_task_that_got_better_is_negative_forgetting() -> None:
    assert forgetting([[0.5, None], [0.7, 0.9]]) == pytest.approx(-0.2)


def test_one_task_has_forgotten_nothing() -> None:
    one: Matrix = [[0.8]]
    assert average_accuracy(one) == average_incremental_accuracy(one) == learned_accuracy(one) == 0.8
    assert forgetting(one) == backward_transfer(one) == 0


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("matrix", [[], [[None]], [[None, None], [None, None]]])
def test_what_was_not_measured_is_none(metric: Callable[[Matrix], float | None], matrix: Matrix) -> None:
    assert metric(matrix) is None


def test_gaps_inside_the_triangle_are_left_out_and_not_zeros() -> None:
    """A task whose clips had moved when a later one was learned."""
    matrix: Matrix = [[0.9, None, None], [None, 0.8, None], [None, 0.6, 0.7]]
    assert average_accuracy(matrix) == pytest.approx(0.65)
    assert forgetting(matrix) == pytest.approx(0.2)
    assert backward_transfer(matrix) == pytest.approx(-0.2)
    assert average_incremental_accuracy(matrix) == pytest.approx((0.9 + 0.8 + 0.65) / 3)
    never: Matrix = [[None, None], [None, 0.8]]
    assert forgetting(never) is None
    assert backward_transfer(never) is None
    assert learned_accuracy(never) == 0.8


accuracy = st.floats(0, 1)
matrices = st.integers(2, 6).flatmap(
    lambda t: st.lists(st.lists(st.one_of(st.none(), accuracy), min_size=t, max_size=t), min_size=t, max_size=t)
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(matrices)
def test_metrics_stay_in_their_ranges_and_change_no_argument(matrix: Matrix) -> None:
    before = deepcopy(matrix)
    for metric, low in (
        (forgetting, -1), (backward_transfer, -1), (average_accuracy, 0),
        (average_incremental_accuracy, 0), (learned_accuracy, 0),
    ):  # fmt: skip
        value = metric(matrix)
        assert value is None or low - 1e-9 <= value <= 1 + 1e-9
    assert matrix == before


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(accuracy, min_size=1, max_size=6))
def test_where_every_row_is_the_same_nothing_is_forgotten(row: list[float]) -> None:
    matrix: Matrix = [list(row) for _ in row]
    assert backward_transfer(matrix) == 0
    assert forgetting(matrix) == 0
    assert average_accuracy(matrix) == learned_accuracy(matrix)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.permutations(range(4)), st.lists(accuracy, min_size=4, max_size=4))
def test_average_accuracy_does_not_depend_on_the_order_of_tasks(order: list[int], last: list[float]) -> None:
    shuffled = [last[index] for index in order]
    assert average_accuracy([shuffled] * 4) == pytest.approx(average_accuracy([last] * 4))


@given(st.data(), st.integers(0, 5))
def test_of_cells_is_the_same_of_a_list_of_what_is_known(data: st.DataObject, tasks: int) -> None:
    accuracy = st.none() | st.floats(0, 1, width=32)
    matrix = [[data.draw(accuracy) if j <= i else None for j in range(tasks)] for i in range(tasks)]
    known = {(i, j): value for i, row in enumerate(matrix) for j, value in enumerate(row) if value is not None}
    found = of_cells(known, tasks)
    for metric in (average_accuracy, forgetting, backward_transfer):
        assert found[metric.__name__] == pytest.approx(metric(matrix))
