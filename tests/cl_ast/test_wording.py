"""The pieces of sentences: a count and its noun, a time and a size."""

import pytest

from cl_ast.wording import duration, plural, size


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


@pytest.mark.parametrize(
    ("count", "said"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (138_996, "139.0 kB"), (49.4e6, "49.4 MB"),
     (2e12, "2000.0 GB")],
)  # fmt: skip
def test_a_size_with_its_unit(count: float | None, said: str) -> None:
    assert size(count) == said
