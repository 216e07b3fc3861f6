"""Grids: every cell is trained once and kept, a failed one is a line, and the clips of a fold are read once."""

import csv
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import streams
from cl_ast.adapters.forms import Params, ScaleShift
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.options import Values
from cl_ast.adapters.placement import Placement
from cl_ast.adapters.spec import cost
from cl_ast.audio.clip_reader import read_all
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import MethodError, StreamError
from cl_ast.experiments.grid import Grid, Sweep, by_fold, tasks_by_name, variants_of
from cl_ast.experiments.running import GridResults, right_of, run
from cl_ast.experiments.summary import Compared, averages, compared, ranked
from cl_ast.manager import Manager
from cl_ast.progress import Progress, Step, silent
from cl_ast.training.clips import ClipSet, labelled
from cl_ast.training.options import TrainOptions

J = TypeVar("J")
R = TypeVar("R")
FEW = TrainOptions(epochs=2, batch_size=8, seed=3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones and noise, 12 clips of 0.3 s each, in class folders."""
    folder = tmp_path_factory.mktemp("two")
    random = np.random.default_rng(0)
    for label in ("tone", "noise"):
        (folder / label).mkdir()
        for number in range(12):
            noise = random.normal(size=4800)
            tone = np.sin(2 * np.pi * random.uniform(300, 3000) * np.arange(4800) / 16_000)
            samples = 0.3 * tone + 0.001 * noise if label == "tone" else 0.1 * noise
            soundfile.write(folder / label / f"{number}.wav", samples.astype(np.float32), 16_000)
    return folder


Place = Callable[..., list[Compared]]


@pytest.fixture
def table(backbone: Backbone, tmp_path: Path) -> Place:
    """table(grid, folder=…, **how): the lines of a grid whose results are in a folder of this test."""

    def lines(grid: Grid, folder: str = "results", **how: Any) -> list[Compared]:
        with GridResults(tmp_path / folder, grid, backbone) as results:
            for _ in run(results, **how):
                pass
            return ranked([compared(results, line) for line in grid.lines()])

    return lines


def grid_of(clips: Path, words: str, backbone: Backbone, **how: Any) -> Grid:
    tasks = tasks_by_name([streams.load(str(clips))], how.pop("folds", None))
    methods = variants_of(words.split(), tasks, backbone, sweep=how.get("sweep"))
    return Grid(tasks, methods, **{"options": FEW, "seeds": [3], **how})


def lines_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_line_a_method_in_the_order_given_with_every_seed(clips: Path, backbone: Backbone, table: Place) -> None:
    said: list[str] = []
    before = {name: tensor.clone() for name, tensor in backbone.tensors().items()}
    grid = grid_of(clips, "lora:r=2 linear", backbone, seeds=[3, 4])
    lines = table(grid, say=said.append)
    assert [line.method for line in lines] == ["lora:qv,r=2,s=8", "linear"]
    for line, variant in zip(lines, grid.variants, strict=True):
        assert len(line.accuracies) == 2
        assert line.accuracy is not None
        assert line.accuracy == pytest.approx(sum(line.accuracies) / 2)
        assert (
            line.trainable_parameters == cost(variant.specs[clips.name], backbone.shape, classes=2).trainable_parameters
        )
        assert line.seconds is not None and line.seconds > 0
        assert line.interval is not None and line.interval[0] <= line.accuracy <= line.interval[1]
    assert [one.split(":")[0] for one in said] == ["lora"] * 2 + ["linear, seed 3", "linear, seed 4"]
    assert all((tensor == before[name]).all() for name, tensor in backbone.tensors().items())


def test_a_line_is_there_as_soon_as_its_cells_are(clips: Path, backbone: Backbone, tmp_path: Path) -> None:
    said: list[str] = []
    with GridResults(tmp_path, grid_of(clips, "linear lora:r=2", backbone), backbone) as results:
        lines = run(results, say=said.append)
        assert next(lines).variant.word == "linear"
        assert len(said) == 1 and len(lines_in(tmp_path)) == 1
        assert [line.variant.word for line in lines] == ["lora:r=2"]


@pytest.mark.slow
def test_a_grid_that_was_stopped_goes_on_to_the_same_results(
    clips: Path, backbone: Backbone, table: Place, tmp_path: Path
) -> None:
    grid = grid_of(clips, "linear bottleneck:r=2", backbone, seeds=[3, 4])
    whole = table(grid)
    written = (tmp_path / "results" / "results.csv").read_bytes()
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "results.csv").write_bytes(written[: written.index(b"bottleneck") + 4])
    said: list[str] = []
    again = table(grid, "stopped", say=said.append)
    assert said[0] == "2 of 4 trainings are done already" and len(said) == 3
    assert [line.accuracies for line in again] == [line.accuracies for line in whole]
    assert table(grid, "stopped", progress=lambda step: pytest.fail(step.stage)) == again


@pytest.mark.slow
def test_other_clips_and_other_options_are_other_cells(
    clips: Path, backbone: Backbone, table: Place, tmp_path: Path
) -> None:
    table(grid_of(clips, "linear", backbone))
    table(grid_of(clips, "linear", backbone, options=TrainOptions(epochs=1)))
    table(grid_of(clips, "linear", backbone, positions="zeros"))
    other = tmp_path / "more" / "two"
    for label in ("tone", "noise"):
        (other / label).mkdir(parents=True)
        for path in sorted((clips / label).iterdir())[:8]:
            (other / label / path.name).write_bytes(path.read_bytes())
    table(grid_of(other, "linear", backbone))
    tasks = tasks_by_name([streams.load(str(clips), max_seconds=0.2)])
    table(Grid(tasks, variants_of(["linear"], tasks, backbone), options=FEW, seeds=[3]))
    found = lines_in(tmp_path / "results")
    assert [line["settings"] for line in found] == [
        "epochs=2 batch_size=8", "epochs=1", "epochs=2 batch_size=8 positions=zeros", "epochs=2 batch_size=8",
        "epochs=2 batch_size=8 max_seconds=0.2",
    ]  # fmt: skip
    assert len({line["data"] for line in found}) == 2


def test_a_line_says_which_clips_were_right(clips: Path, backbone: Backbone, table: Place, tmp_path: Path) -> None:
    (line,) = table(grid_of(clips, "linear", backbone))
    (row,) = lines_in(tmp_path / "results")
    right = right_of(row)
    assert len(right) == int(row["n"]) == line.clips == len(streams.load(str(clips)).test)
    assert right.mean() == float(row["test"]) == line.accuracy
    assert row["what"] == "compare" and "torch=" in row["versions"]


class Elsewhere:
    """An engine whose worker shares no memory with it, and which does the last job first."""

    def map(self, work: Callable[[J], R], jobs: Sequence[J], progress: Progress = silent) -> Iterator[R]:
        there: Callable[[J], R] = pickle.loads(pickle.dumps(work))
        results: list[R] = [pickle.loads(pickle.dumps(there(job))) for job in reversed(jobs)]
        return reversed(results)


@pytest.mark.slow
def test_an_engine_gives_the_same_table(clips: Path, backbone: Backbone, table: Place) -> None:
    grid = grid_of(clips, "linear bottleneck:r=2", backbone, seeds=[3, 4])
    found = [table(grid, "here"), table(grid, "elsewhere", engine=Elsewhere(), device="cpu")]
    here, elsewhere = ([(one.method, one.accuracies, one.validation, one.training) for one in lines] for lines in found)
    assert here == elsewhere


@pytest.mark.slow
def test_each_seed_draws_its_own_few_clips_and_all_else_is_read_once(
    clips: Path, backbone: Backbone, table: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Path, ...]] = []

    def noted(given: Sequence[streams.Clip], *others: Any, **named: Any) -> ClipSet:
        drawn.append(tuple(clip.path for clip in given))
        return labelled(given, *others, **named)

    monkeypatch.setattr("cl_ast.experiments.cells.labelled", noted)
    task = streams.load(str(clips))
    table(grid_of(clips, "linear ssf", backbone, seeds=[3, 4], few_shot=(2, 3)))
    assert len(drawn) == 2 + 4  # validation and test clips, and two draws of 2 and of 3 clips per class
    assert drawn[2] == tuple(clip.path for clip in streams.few_shot(task, 2, 3).train)
    assert len(set(drawn)) == 6
    drawn.clear()
    table(grid_of(clips, "linear ssf", backbone, seeds=[3, 4], few_shot=(2,), first_clips=True))
    assert drawn[2:] == [tuple(clip.path for clip in streams.few_shot(task, 2, None).train)]


@pytest.mark.slow
def test_the_frozen_layers_run_once_for_all_cells_above_them(clips: Path, backbone: Backbone, table: Place) -> None:
    stages: list[str] = []

    def noted(step: Step) -> None:
        if step.done == step.total:
            stages.append(step.stage)

    table(grid_of(clips, "lora:r=2,from=1 bottleneck:r=2,from=1", backbone, seeds=[3, 4]), progress=noted)
    for split in ("training", "validation"):
        assert stages.count(f"running the frozen layers over {split} clips") == 1
    stages.clear()
    table(grid_of(clips, "linear", backbone, seeds=[3, 4]), progress=noted)
    assert stages.count("running the frozen layers over test clips") == 1


@pytest.mark.slow
def test_each_fold_tests_once(tmp_path: Path, clips: Path, backbone: Backbone, table: Place) -> None:
    folder = tmp_path / "folds"
    for label in ("tone", "noise"):
        for number, path in enumerate(sorted((clips / label).iterdir())):
            place = folder / f"fold{number % 3 + 1}" / label
            place.mkdir(parents=True, exist_ok=True)
            (place / path.name).write_bytes(path.read_bytes())
    grid = grid_of(folder, "linear", backbone, folds="all", seeds=[0, 1])
    (line,) = table(grid)
    assert line.folds == ("1", "2", "3") and line.clips == 24 and len(line.accuracies) == 6
    rows = lines_in(tmp_path / "results")
    assert [(row["fold"], row["seed"]) for row in rows] == [(fold, seed) for fold in "123" for seed in "01"]
    assert line.accuracies == tuple(float(row["test"]) for row in rows)
    assert list(by_fold(streams.load(folder), "2, 3")) == ["2", "3"]
    with pytest.raises(StreamError, match="no fold 7"):
        by_fold(streams.load(folder), "7")
    with pytest.raises(StreamError, match="no folds"):
        by_fold(streams.load(clips), "1")


@pytest.mark.slow
def test_a_sweep_trains_each_method_in_each_value(clips: Path, backbone: Backbone, table: Place) -> None:
    grid = grid_of(clips, "lora bottleneck:ffn", backbone, sweep=Sweep("r", (1, 2)))
    lines = table(grid)
    assert [(line.method.split(":")[0], line.value) for line in lines] == [
        ("lora", 1), ("lora", 2), ("bottleneck", 1), ("bottleneck", 2),
    ]  # fmt: skip
    assert lines[0].method == "lora:qv,r=1,s=8" and "ffn" in lines[2].method and "r=1" in lines[2].method
    with pytest.raises(MethodError, match=r"linear.*r=1"):
        grid_of(clips, "linear", backbone, sweep=Sweep("r", (1, 2)))


def test_a_method_that_does_not_fit_is_refused_before_any_training(
    clips: Path, backbone: Backbone, table: Place, tmp_path: Path
) -> None:
    with pytest.raises(MethodError, match="r=5"):
        table(grid_of(clips, "linear bone:r=5", backbone), say=lambda line: pytest.fail(line))
    assert lines_in(tmp_path / "results") == []


def test_two_tasks_of_one_name_are_refused(clips: Path) -> None:
    with pytest.raises(StreamError, match="two tasks are called two"):
        tasks_by_name([streams.load(str(clips)), streams.load(str(clips))])


class Overflowing(ScaleShift):
    """Finite until its weights move; then nothing is."""

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        moved = (p["scale"] - 1).abs().sum() + p["shift"].abs().sum()
        return super().delta(x, p, training=training) + moved / torch.tensor(1e-45) * 0


@pytest.mark.slow
def test_one_that_fails_is_a_line_the_others_go_on_and_it_is_tried_again(
    clips: Path, backbone: Backbone, table: Place, tmp_path: Path
) -> None:
    row = Method("overflowing", "", "", "", (), lambda _: (Placement("ffn", Overflowing(), "output"),))
    tasks = tasks_by_name([streams.load(str(clips))])
    methods = variants_of(["overflowing", "linear"], tasks, backbone, {**METHODS, "overflowing": row})
    grid = Grid(tasks, methods, options=FEW)
    bad, good = table(grid)
    assert "not a number" in bad.error
    assert (bad.accuracy, bad.accuracies, bad.seconds, bad.interval) == (None, (), None, None)
    assert good.accuracy is not None and not good.error
    failed, done = lines_in(tmp_path / "results")
    assert failed["reason"] == bad.error and failed["test"] == "" and done["reason"] == ""
    said: list[str] = []
    table(grid, say=said.append)
    assert said[0] == "1 of 2 trainings are done already" and "not a number" in said[1]
    assert [bool(row["reason"]) for row in lines_in(tmp_path / "results")] == [True, False, True]


def test_clips_that_cannot_be_read_fail_their_own_task_alone(
    clips: Path, backbone: Backbone, table: Place, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    for label in ("tone", "noise"):
        (broken / label).mkdir(parents=True)
        for path in (clips / label).iterdir():
            (broken / label / path.name).write_bytes(b"no sound" if path.name == "1.wav" else path.read_bytes())
    tasks = tasks_by_name([streams.load(str(broken)), streams.load(str(clips))])
    bad, good = table(Grid(tasks, variants_of(["linear"], tasks, backbone), options=FEW))
    assert "1.wav" in bad.error and good.accuracy is not None


@pytest.mark.slow
def test_the_average_is_the_mean_of_the_tasks(clips: Path, backbone: Backbone, tmp_path: Path) -> None:
    second = tmp_path / "second"
    for label in ("tone", "noise"):
        (second / label).mkdir(parents=True)
        for path in sorted((clips / label).iterdir())[3:]:
            (second / label / path.name).write_bytes(path.read_bytes())
    tasks = tasks_by_name([streams.load(str(clips)), streams.load(str(second))])
    grid = Grid(tasks, variants_of(["linear", "ssf"], tasks, backbone), options=FEW, seeds=(0, 1))
    with GridResults(tmp_path, grid, backbone) as results:
        assert len(list(run(results))) == 4
        lines = [compared(results, line) for line in grid.lines()]
        means = averages(results, lines)
    assert [mean.method for mean in means] == ["linear", "ssf:whole"]
    for mean, own in zip(means, (lines[0::2], lines[1::2]), strict=True):
        assert mean.accuracies == tuple(line.accuracy for line in own)
        assert mean.accuracy is not None
        assert mean.accuracy == pytest.approx(sum(line.accuracy or 0 for line in own) / 2)
        assert mean.interval is not None and mean.interval[0] <= mean.accuracy <= mean.interval[1]


# A table of one's own


@pytest.mark.slow
def test_a_table_with_a_row_of_ones_own_reaches_the_manager_and_its_stored_tasks(
    clips: Path, backbone_folder: Path, tmp_path: Path
) -> None:
    mine = Method("mine", "the FFN's output, scaled", "h ← γ ∘ h + β", "this test", (), _at_the_ffn)
    table = {**METHODS, "mine": mine}
    task = streams.load(str(clips))
    with Manager.open(tmp_path / "r", backbone=str(backbone_folder), methods=table) as manager:
        manager.add_task(task, method="mine", options=FEW, evaluate=False)
        waveforms = read_all([clip.path for clip in task.test])
        logits = manager.logits(waveforms, task.name)
    with Manager.open(tmp_path / "r", methods=table) as again:
        assert again.logits(waveforms, task.name).equal(logits)
        again.export(task.name, tmp_path / "shared")
        again.import_(tmp_path / "shared", name="copy")
        assert again.logits(waveforms, "copy").equal(logits)
    with Manager.open(tmp_path / "r") as without, pytest.raises(MethodError, match="mine"):
        without.logits(waveforms, task.name)
    with Manager.open(tmp_path / "r") as without, pytest.raises(MethodError, match="mine"):
        without.import_(tmp_path / "shared", name="stranger")


def _at_the_ffn(_: Values) -> tuple[Placement, ...]:
    return (Placement("ffn", ScaleShift(), "output"),)
