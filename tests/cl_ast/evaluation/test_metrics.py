"""Metrics against a calculation by hand, and at their edges: one task, nothing measured, gaps."""

from collections.abc import Callable
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.evaluation.metrics import (
    Cells,
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    intransigence,
    mean_incremental_accuracy,
)

Matrix = list[list[float | None]]
Metric = Callable[[Cells, int], float | None]

# By hand: ACC (.85+.7+.9)/3; BWT ((.85-.9) + (.7-.8))/2; forgetting ((max(.9,.95)-.85) + (.8-.7))/2;
# mean incremental accuracy (.9 + (.95+.8)/2 + (.85+.7+.9)/3)/3.
FULL: Matrix = [[0.9, 0.12, 0.1], [0.95, 0.8, 0.08], [0.85, 0.7, 0.9]]
TRIANGLE: Matrix = [[0.9, None, None], [0.95, 0.8, None], [0.85, 0.7, 0.9]]

BY_HAND: dict[Metric, float] = {
    average_accuracy: 0.8167,
    backward_transfer: -0.075,
    forgetting: 0.10,
    mean_incremental_accuracy: 0.8639,
}


def _of(metric: Metric, matrix: Matrix) -> float | None:
    cells = {(i, j): value for i, row in enumerate(matrix) for j, value in enumerate(row) if value is not None}
    return metric(cells, len(matrix))


@pytest.mark.parametrize("metric", BY_HAND)
@pytest.mark.parametrize("matrix", [FULL, TRIANGLE], ids=["full", "triangle"])
def test_three_tasks_by_hand(metric: Metric, matrix: Matrix) -> None:
    assert _of(metric, matrix) == pytest.approx(BY_HAND[metric], abs=1e-4)


def test_intransigence_is_against_a_reference_that_was_trained_on_all_tasks_so_far() -> None:
    cells = {(0, 0): 0.9, (1, 0): 0.5, (1, 1): 0.6}
    assert intransigence(cells, {(0, 0): 0.9, (1, 0): 0.1, (1, 1): 0.8}, 2) == pytest.approx((0.0 + 0.2) / 2)
    assert intransigence(cells, {}, 2) is None


def test_forward_transfer_is_by_probes_of_the_tasks_that_are_to_come() -> None:
    assert forward_transfer({1: 0.7, 2: 0.5}, {0: 0.9, 1: 0.6, 2: 0.6}) == pytest.approx((0.1 - 0.1) / 2)
    assert forward_transfer({1: 0.7}, {1: 0.6}) == pytest.approx(0.1)
    assert forward_transfer({}, {0: 0.9}) is None


def test_forgetting_is_from_the_best_and_backward_transfer_from_the_first() -> None:
    """The two definitions that libraries mix up: one matrix, other signs."""
    matrix: Matrix = [[0.5, None, None], [0.9, 0.6, None], [0.7, 0.6, 0.8]]
    assert _of(forgetting, matrix) == pytest.approx((0.2 + 0.0) / 2)
    assert _of(backward_transfer, matrix) == pytest.approx((0.2 + 0.0) / 2)


def test_a_task_that_got_better_is_negative_forgetting() -> None:
    assert _of(forgetting, [[0.5, None], [0.7, 0.9]]) == pytest.approx(-0.2)


def test_one_task_has_forgotten_nothing() -> None:
    one: Matrix = [[0.8]]
    assert _of(average_accuracy, one) == 0.8
    assert _of(forgetting, one) == _of(backward_transfer, one) == 0


@pytest.mark.parametrize("metric", BY_HAND)
@pytest.mark.parametrize("matrix", [[], [[None]], [[None, None], [None, None]]])
def test_what_was_not_measured_is_none(metric: Metric, matrix: Matrix) -> None:
    assert _of(metric, matrix) is None


def test_gaps_inside_the_triangle_are_left_out_and_not_zeros() -> None:
    """A task whose clips had moved when a later one was learned."""
    matrix: Matrix = [[0.9, None, None], [None, 0.8, None], [None, 0.6, 0.7]]
    assert _of(average_accuracy, matrix) == pytest.approx(0.65)
    assert _of(forgetting, matrix) == pytest.approx(0.2)
    assert _of(backward_transfer, matrix) == pytest.approx(-0.2)
    never: Matrix = [[None, None], [None, 0.8]]
    assert _of(forgetting, never) is None
    assert _of(backward_transfer, never) is None
    assert _of(average_accuracy, never) == 0.8


accuracy = st.floats(0, 1)
matrices = st.integers(2, 6).flatmap(
    lambda t: st.lists(st.lists(st.one_of(st.none(), accuracy), min_size=t, max_size=t), min_size=t, max_size=t)
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True)
@given(matrices)
def test_metrics_stay_in_their_ranges_and_change_no_argument(matrix: Matrix) -> None:
    cells = {(i, j): value for i, row in enumerate(matrix) for j, value in enumerate(row) if value is not None}
    before = deepcopy(cells)
    for metric, low in ((forgetting, -1), (backward_transfer, -1), (average_accuracy, 0)):
        value = metric(cells, len(matrix))
        assert value is None or low - 1e-9 <= value <= 1 + 1e-9
    assert cells == before


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True)
@given(matrices)
def test_metrics_are_those_of_the_formulas_written_out(matrix: Matrix) -> None:
    """A second calculation, column by column over the whole matrix."""
    *earlier, last = matrix
    drops, changes = [], []
    for j, now in enumerate(last[:-1]):
        best = [row[j] for row in earlier if row[j] is not None]
        drops += [max(best) - now] if best and now is not None else []  # type: ignore[type-var, operator]
        first = matrix[j][j]
        changes += [now - first] if now is not None and first is not None else []
    known = [value for value in last if value is not None]
    for metric, values in ((forgetting, drops), (backward_transfer, changes), (average_accuracy, known)):
        assert _of(metric, matrix) == (pytest.approx(sum(values) / len(values)) if values else None)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(accuracy, min_size=1, max_size=6))
def test_where_every_row_is_the_same_nothing_is_forgotten(row: list[float]) -> None:
    matrix: Matrix = [list(row) for _ in row]
    assert _of(backward_transfer, matrix) == 0
    assert _of(forgetting, matrix) == 0
    assert _of(average_accuracy, matrix) == pytest.approx(sum(row) / len(row))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.permutations(range(4)), st.lists(accuracy, min_size=4, max_size=4))
def test_average_accuracy_does_not_depend_on_the_order_of_tasks(order: list[int], last: list[float]) -> None:
    shuffled = [last[index] for index in order]
    assert _of(average_accuracy, [[*shuffled]] * 4) == pytest.approx(_of(average_accuracy, [[*last]] * 4))
