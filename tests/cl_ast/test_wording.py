"""The pieces of sentences: a count and its noun, and a time."""

import pytest

from cl_ast.wording import duration, plural


@pytest.mark.parametrize(("count", "said"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (2000, "2,000 tasks")])
def test_a_count_and_its_noun(count: int, said: str) -> None:
    assert plural(count, "task") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 ms"), (0.0025, "2.5 ms"), (0.04, "40 ms"), (0.42, "0.4 s"), (9.8, "9.8 s"), (29.4, "29 s"),
     (101, "2 min"), (5400, "1.5 h")],
)  # fmt: skip
def test_a_time_as_a_person_says_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said
