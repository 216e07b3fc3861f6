"""How tasks are measured: by name, and with the router's choice, each clip read once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from cl_ast.audio import reading as audio
from cl_ast.backbone.backbone import Backbone
from cl_ast.evaluation.accuracy import measure
from cl_ast.inference.answering import logits_of
from cl_ast.inference.session import Session
from cl_ast.router import Route
from cl_ast.tasks.task_model import TaskModel
from streams import Clip
from tests.cl_ast.conftest import Fresh, RegistryOf, commit_model

LABELS = ("tone", "noise")


class Choosing:
    """A router that sends clips to tasks in turn and declines those that it sends astray."""

    def __init__(self, *tasks: str) -> None:
        self.tasks = tasks

    def choose(self, described: torch.Tensor) -> list[Route]:
        return [Route(self.tasks[i % len(self.tasks)], 0.5, i % len(self.tasks) == 0, ()) for i in described.tolist()]


class Counting:
    """Describes clips by their number, in the place of a session's descriptions."""

    def __init__(self) -> None:
        self.seen = 0

    def describe(self, space: object, paths: Sequence[Path], waveforms: Sequence[Any]) -> torch.Tensor:
        first, self.seen = self.seen, self.seen + len(waveforms)
        return torch.arange(first, self.seen)


@pytest.fixture(scope="module")
def model(fresh: Fresh) -> TaskModel:
    return fresh("linear", labels=LABELS, frames=30)


@pytest.fixture
def session(tmp_path: Path, registry_of: RegistryOf, backbone: Backbone, model: TaskModel) -> Iterator[Session]:
    """A session of a registry with the tasks "toy", "other" and "third", all of them the same model."""
    with registry_of(tmp_path / "registry", backbone) as registry:
        for name in ("toy", "other", "third"):
            commit_model(registry, name, model, backbone)
        one = Session(registry, backbone=backbone, device="cpu")
        yield one
        one.close()


@pytest.fixture
def right(model: TaskModel, toy_clips: list[Path]) -> list[bool]:
    """Which toy clips the model answers rightly, one by one."""
    waveforms = [audio.read(path) for path in toy_clips]
    return [int(logits_of(model, [w]).argmax()) == n % 2 for n, w in enumerate(waveforms)]


def _clips(paths: Sequence[Path]) -> list[Clip]:
    return [Clip(path, LABELS[n % 2]) for n, path in enumerate(paths)]


def test_logits_are_the_same_in_one_call_or_several(model: TaskModel, toy_clips: list[Path]) -> None:
    waveforms = [audio.read(path) for path in toy_clips]
    together = logits_of(model, waveforms)  # more than one batch
    assert together.shape == (48, 2)
    assert together.dtype == torch.float32
    alone = torch.cat([logits_of(model, [waveform]) for waveform in waveforms])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert torch.equal(logits_of(model, waveforms), together)
    assert logits_of(model, []).shape == (0, 2)


@pytest.mark.slow
def test_a_task_measured_by_name(session: Session, toy_clips: list[Path], right: list[bool]) -> None:
    found = measure(session, "toy", _clips(toy_clips))
    assert (found.task, found.clips, found.auto, found.routed) == ("toy", 48, None, None)
    assert found.oracle == pytest.approx(sum(right) / 48)


def test_a_label_that_the_task_does_not_know_is_wrong_and_no_error(session: Session, toy_clips: list[Path]) -> None:
    assert measure(session, "toy", [Clip(path, "whale") for path in toy_clips[:5]]).oracle == 0


@pytest.mark.slow
def test_only_clips_that_were_routed_right_can_be_right(
    session: Session, toy_clips: list[Path], right: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "descriptions", Counting())
    clips = [*_clips(toy_clips), *_clips(toy_clips)]  # more than one chunk of reading
    found = measure(session, "toy", clips, Choosing("toy", "other", "third"))  # type: ignore[arg-type]
    assert found.routed == {"toy": 32, "other": 32, "third": 32}
    assert found.declined == 64
    expected = sum(ok for n, ok in enumerate([*right, *right]) if n % 3 == 0)
    assert found.auto == pytest.approx(expected / 96)
    assert found.oracle == pytest.approx(sum(right) / 48)
