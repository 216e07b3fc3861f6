"""Pieces that are prepared ahead come in order, errors come in their turn, and nothing goes on afterwards."""

import threading
from contextlib import closing
from functools import partial

import pytest

from cl_ast.batching import ahead


def test_results_come_in_order_and_two_are_made_ahead() -> None:
    made: list[int] = []
    first = threading.Event()

    def make(number: int) -> int:
        made.append(number)
        if number == 2:
            first.set()
        return number

    with closing(ahead(partial(make, number) for number in range(5))) as coming:
        assert next(coming) == 0
        assert first.wait(10)
        assert made == [0, 1, 2]
        assert list(coming) == [1, 2, 3, 4]
    assert list(ahead(iter(()))) == []


def test_an_error_comes_when_its_piece_would() -> None:
    def fail() -> int:
        raise ValueError("the third")

    coming = ahead([lambda: 1, lambda: 2, fail, lambda: 4])
    assert [next(coming), next(coming)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(coming)
    assert list(coming) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whoever_stops_early_leaves_no_thread(error: type[BaseException]) -> None:
    before = threading.active_count()
    made: list[int] = []
    with pytest.raises(error), closing(ahead(partial(made.append, number) for number in range(1000))) as coming:
        for _ in coming:
            raise error
    assert threading.active_count() == before
    assert len(made) <= 4
