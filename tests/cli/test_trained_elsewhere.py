"""Tasks that are trained in other processes, of a cluster or not, make the registry that one process makes."""

import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

import streams
from cl_ast.continual.learn_stream import TaskTrainer, learn_stream
from cl_ast.continual.planning import Request
from cl_ast.errors import AudioError, ClAstError, MethodError, TaskExistsError
from cl_ast.manager import Manager
from cl_ast.progress import Progress, silent
from cl_ast.training.options import TrainOptions
from tests.cli.conftest import METHODS, MakeFolder, contents

J = TypeVar("J")
R = TypeVar("R")


class Elsewhere:
    """An engine whose worker shares no memory with it, and which does the last job first."""

    def __init__(self) -> None:
        self.done = 0

    def map(self, work: Callable[[J], R], jobs: Sequence[J], progress: Progress = silent) -> Iterator[R]:
        there: Callable[[J], R] = pickle.loads(pickle.dumps(work))
        results: list[R | ClAstError] = []
        for job in reversed(jobs):
            try:
                results.append(pickle.loads(pickle.dumps(there(pickle.loads(pickle.dumps(job))))))
            except ClAstError as error:
                results.append(error)
            self.done += 1
        for one in reversed(results):
            if isinstance(one, ClAstError):
                raise one
            yield one


def learn(registry: Path, backbone: Path, engine: Elsewhere, *tasks: streams.Task, method: str | None = None) -> None:
    """Learn tasks as the fixture `stages` does, but elsewhere."""
    options = TrainOptions(epochs=2)
    with Manager.open(registry, device="cpu") as manager:
        wanted = [(task, Request(method=method or METHODS[task.name], options=options)) for task in tasks]
        list(learn_stream(manager.session, wanted, TaskTrainer(str(registry), str(backbone), "cpu", None), engine))


@pytest.mark.slow
def test_the_registry_is_that_of_one_process(stage: MakeFolder, data: Path, backbone: Path) -> None:
    elsewhere = stage("tones")
    learn(elsewhere, backbone, Elsewhere(), *(streams.load(data / task) for task in ("noises", "chirps")))
    assert contents(elsewhere) == contents(stage("chirps", "here"))


def test_what_could_not_be_committed_is_refused_before_any_training(
    stage: MakeFolder, data: Path, backbone: Path
) -> None:
    registry, engine = stage("tones"), Elsewhere()
    tones, noises = (streams.load(data / task) for task in ("tones", "noises"))
    with pytest.raises(MethodError, match="r=5"):
        learn(registry, backbone, engine, noises, method="bone:r=5")
    with pytest.raises(TaskExistsError, match="tones"):
        learn(registry, backbone, engine, noises, tones)
    assert engine.done == 0


@pytest.mark.slow
def test_what_fails_later_leaves_what_was_done_before(
    stage: MakeFolder, data: Path, backbone: Path, tmp_path: Path
) -> None:
    registry, engine = stage("tones"), Elsewhere()
    broken = streams.load(shutil.copytree(data / "tones", tmp_path / "broken"))
    broken.train[0].path.write_bytes(b"no sound")
    noises, chirps = (streams.load(data / task) for task in ("noises", "chirps"))
    with pytest.raises(AudioError, match="broken"):
        learn(registry, backbone, engine, noises, broken, chirps, method="linear")
    assert engine.done == 3
    with Manager.open(registry) as manager:
        assert [task.name for task in manager.registry.tasks()] == ["tones", "noises"]
