"""Writes predictions as Audacity's label tracks: a line for each region, with its start, its end and its label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from cl_ast.escaping import escaped
from cl_ast.events.naming import stems

if TYPE_CHECKING:
    from cl_ast.inference.prediction import Prediction


@dataclass
class _Region:
    """Neighbouring windows with the same label."""

    name: str
    start: float
    end: float
    scores: list[float] = field(default_factory=list)

    def line(self) -> str:
        score = f" {sum(self.scores) / len(self.scores):.2f}" if self.scores else ""
        return f"{self.start:.6f}\t{self.end:.6f}\t{escaped(self.name)}{score}"


def track(answers: Iterable[Prediction]) -> str:
    """Return the track of one recording or, of several, all regions one after another.

    Neighbouring windows with the same task and label are one region, with the mean of their probabilities. Where
    windows overlap and their labels differ, the border is in the middle of the overlap.
    """
    regions = [region for _, one in groupby(answers, lambda answer: answer.path) for region in _regions(list(one))]
    return "\n".join(region.line() for region in regions)


def tracks(answers: Iterable[Prediction]) -> dict[str, str]:
    """Return the track of each recording, by the name of a file for it; two of one name get numbers."""
    each = [(path, track(one)) for path, one in groupby(answers, lambda answer: answer.path)]
    names = stems(path for path, _ in each)
    return {f"{name}.txt": one for name, (_, one) in zip(names, each, strict=True)}


def _regions(answers: Sequence[Prediction]) -> list[_Region]:
    """Return the regions of one recording; a window may have several answers."""
    found: list[_Region] = []
    before: dict[str, _Region] = {}  # those that the window before is in
    for _, window in groupby(answers, lambda answer: answer.start):
        now: dict[str, _Region] = {}
        for answer in window:
            start, end = answer.taken if answer.start is None or answer.end is None else (answer.start, answer.end)
            for name, score in _named(answer):
                region = before.get(name)
                if region is None:
                    region = _Region(name, start, end)
                    found.append(region)
                region.end = end
                if answer.known:
                    region.scores.append(score)
                now[name] = region
        _part(before, now)
        before = now
    return found


def _named(answer: Prediction) -> list[tuple[str, float]]:
    """Return the names of the regions that a window belongs to, with its probabilities: one, or one a tag."""
    if not answer.known:
        return [("unknown", 0.0)]
    return [(f"{answer.task}: {label}", score) for label, score in answer.labels if label in answer.said]


def _part(before: dict[str, _Region], now: dict[str, _Region]) -> None:
    """Put the border between two regions in the middle of their overlap, if there is one answer in each window."""
    if len(before) == len(now) == 1:
        (old,), (new,) = before.values(), now.values()
        if old is not new and new.start < old.end:
            old.end = new.start = (new.start + old.end) / 2
