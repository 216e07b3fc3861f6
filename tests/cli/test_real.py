"""Real recordings, through the command line: two tasks with few examples, then one clip of each."""

import csv
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import pytest

import streams
from tests.cli.conftest import Answer, Run

DATA = (Path(__file__).resolve().parents[2].parent / "shared" / "data").resolve()
TASKS = ["esc10", "fsdd"]

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not here")


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets with three clips of each class in each fold, or of each speaker."""
    root = tmp_path_factory.mktemp("some")
    for task in TASKS:
        (root / task).mkdir()
        (root / task / "audio").symlink_to(DATA / task / "audio")
        with (DATA / task / "metadata.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        group = itemgetter(*map(header.index, ("label", "fold", "speaker")))
        few = [row for _, same in groupby(sorted(rows, key=group), group) for row in islice(same, 3)]
        with (root / task / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *few])
    return root


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, run: Run, backbone: Path, some: Path) -> tuple[Path, Answer]:
    """Return a registry that has learned the tasks, and what `stream` answered."""
    home = tmp_path_factory.mktemp("real") / "registry"
    few = ["--few-shot", 2, "--epochs", 2, "--max-seconds", 1, "--method", "bottleneck:r=2"]
    answer = run(home, "stream", *TASKS, "--data-root", some, "--backbone", backbone, *few, "--format", "json")
    return home, answer.fine()


@pytest.mark.slow
def test_stream_of_real_tasks(learned: tuple[Path, Answer], some: Path) -> None:
    _, answer = learned
    report = answer.json
    assert [task["name"] for task in report["tasks"]] == TASKS
    assert [task["classes"] for task in report["tasks"]] == [10, 10]
    matrix = report["matrix"]["oracle"]
    assert matrix[0][0] == matrix[1][0]
    assert matrix[0][1] is None
    assert report["metrics"]["oracle"]["forgetting"] == 0
    tested = [len(streams.load(some / task).test) for task in TASKS]
    assert [sum(row) for row in report["routing"]["confusion"]] == tested
    # Two trained layers of 32 are no listener, but sounds of five seconds and spoken digits are far apart.
    assert report["routing"]["task_accuracy"] > 0.7
    assert report["storage"]["ratio"] > 1
    for said in ("fold 4 tests", "by speaker, no speaker is in two splits", "2 training clips per class"):
        assert said in answer.err


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_predict_a_real_clip(learned: tuple[Path, Answer], run: Run, some: Path, task: str) -> None:
    registry, _ = learned
    loaded = streams.load(some / task)
    clip = loaded.test[0].path
    (answer,) = run(registry, "predict", clip, "--task", task, "--top-k", 10, "--format", "json").fine().json
    assert {one["label"] for one in answer["labels"]} == set(loaded.labels)
    (routed,) = run(registry, "predict", clip, "--format", "json").fine().json
    assert routed["task"] in TASKS
    assert len(routed["tasks"]) == 2
