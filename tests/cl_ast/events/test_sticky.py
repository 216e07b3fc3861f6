"""Sticky routing: which windows are routed, and that a task is kept only while its head is confident."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch

from cl_ast.audio.windows import Segment
from cl_ast.events import ScoredWindow, WindowScorer
from cl_ast.events.sticky import StickyRouting
from cl_ast.router import Route
from cl_ast.router.calibration import calibrate

LOGITS = {"u": torch.tensor([0.1, 0.0]), "x": torch.zeros(0)}
CONFIDENT = torch.tensor([9.0, 0.0])


class Scorer:
    """Stands for a scorer: of each window, a letter says whether the head is confident (c) or unsure (u), the task was
    left out (x), or no task fits (-).
    """

    def __init__(self, letters: str) -> None:
        self.letters = letters
        self.router = self
        self.asked: list[int] = []  # of the router, in order

    def confidence(self, task: str) -> torch.Tensor:
        return calibrate(torch.linspace(-0.5, 0, 99))

    def routed(self, windows: Sequence[Segment]) -> list[tuple[Route, ScoredWindow]]:
        numbers = [_number(one) for one in windows]
        self.asked += numbers
        routes = [Route("birds", 1.0, self.letters[number] != "-", ()) for number in numbers]
        return [
            (route, ScoredWindow(number, number + 1, cast(Any, ["routed"] if route.known else [])))
            for route, number in zip(routes, numbers, strict=True)
        ]

    def by_task(self, windows: Sequence[Segment], task: str) -> list[tuple[torch.Tensor, ScoredWindow]]:
        assert task == "birds"
        return [
            (LOGITS.get(self.letters[number], CONFIDENT), ScoredWindow(number, number + 1, cast(Any, [task])))
            for number in map(_number, windows)
        ]


def _number(window: Segment) -> int:
    assert window.start is not None
    return round(window.start)


def _scored(letters: str, group: int) -> tuple[str, list[int]]:
    """Return how each window was answered: R routed, k by the task that is kept, - unknown; and what was routed."""
    scorer = Scorer(letters)
    sticky = StickyRouting(cast(WindowScorer, scorer))
    windows = [Segment("a.wav", np.zeros(1, np.float32), float(number)) for number in range(len(letters))]
    found: list[ScoredWindow] = []
    for first in range(0, len(windows), group):
        found += sticky(windows[first : first + group])
    assert [one.first for one in found] == list(range(len(letters)))
    answers = {"routed": "R", "birds": "k"}
    return "".join(answers[cast(str, one.tasks[0])] if one.tasks else "-" for one in found), scorer.asked


@pytest.mark.parametrize("group", [1, 3, 8, 32])
@pytest.mark.parametrize(
    ("letters", "wanted"),
    [
        ("c" * 20, "RkkkkkkkRkkkkkkkRkkk"),  # the first of eight is routed
        ("ccuucccccc", "RkRRkkkkRk"),  # and those of which the head is not confident
        ("ccxc", "RkRk"),  # and those that the task has no answer to, since it was left out
        ("---cc---cu--", "---RR---RRkk"),  # and all after one that no task fits; else a confident head hides them
    ],
)
def test_a_task_is_kept_while_its_head_is_confident(letters: str, wanted: str, group: int) -> None:
    found, asked = _scored(letters, group)
    assert found == wanted
    assert sorted(asked) == [number for number, letter in enumerate(wanted) if letter != "k"]
