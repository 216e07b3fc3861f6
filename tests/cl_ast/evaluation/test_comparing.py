"""Several methods on one task by the same recipe; nothing of it stays in a registry."""

import csv
import io
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from torch import Tensor

import cli
import streams
from cl_ast.adapters.forms import Params, ScaleShift
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.options import Values
from cl_ast.adapters.placement import Placement
from cl_ast.adapters.spec import cost, parse
from cl_ast.audio.reading import read_all
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import MethodError
from cl_ast.evaluation.comparing import compare
from cl_ast.manager import Manager
from cl_ast.progress import Progress, silent
from cl_ast.training.clips import ClipSet, labelled
from cl_ast.training.options import TrainOptions
from registry import Registry

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


def test_a_row_a_method_in_the_order_given_with_every_seed(clips: Path, backbone: Backbone) -> None:
    said: list[str] = []
    methods = [parse("lora:r=2"), parse("linear")]
    before = {name: tensor.clone() for name, tensor in backbone.tensors().items()}
    rows = list(compare(streams.load(str(clips)), backbone, methods, FEW, seeds=2, say=said.append))
    assert [row.method for row in rows] == ["lora:qv,r=2,s=8", "linear"]
    for row, spec in zip(rows, methods, strict=True):
        assert len(row.accuracies) == 2
        assert row.accuracy == pytest.approx(sum(row.accuracies) / 2)
        assert row.trainable_parameters == cost(spec, backbone.shape, classes=2).trainable_parameters
        assert row.seconds is not None
        assert row.seconds > 0
    assert [line.split(":")[0] for line in said] == ["lora"] * 2 + ["linear, seed 3", "linear, seed 4"]
    assert all((tensor == before[name]).all() for name, tensor in backbone.tensors().items())


def test_a_row_is_there_as_soon_as_its_method_is_done(clips: Path, backbone: Backbone) -> None:
    said: list[str] = []
    methods = [parse("linear"), parse("lora:r=2")]
    rows = compare(streams.load(str(clips)), backbone, methods, FEW, say=said.append)
    assert next(rows).method == "linear"
    assert len(said) == 1
    assert [row.method for row in rows] == ["lora:qv,r=2,s=8"]


def test_the_same_seeds_give_the_same_table(clips: Path, backbone: Backbone) -> None:
    def table() -> list[tuple[float, ...]]:
        task = streams.load(str(clips))
        return [row.accuracies for row in compare(task, backbone, [parse("bottleneck:r=2"), parse("mosa:r=2")], FEW)]

    assert table() == table()


class Elsewhere:
    """An engine whose worker shares no memory with it, and which does the last job first."""

    def map(self, work: Callable[[J], R], jobs: Sequence[J], progress: Progress = silent) -> Iterator[R]:
        there: Callable[[J], R] = pickle.loads(pickle.dumps(work))
        results: list[R] = [pickle.loads(pickle.dumps(there(job))) for job in reversed(jobs)]
        return reversed(results)


def test_an_engine_gives_the_same_table(clips: Path, backbone: Backbone) -> None:
    def table(engine: Elsewhere | None) -> list[tuple[object, ...]]:
        methods = [parse("linear"), parse("bottleneck:r=2")]
        task = streams.load(str(clips))
        rows = list(compare(task, backbone, methods, FEW, seeds=2, engine=engine, device="cpu"))
        return [(row.method, row.accuracies, row.validation, row.training, row.bytes) for row in rows]

    assert table(Elsewhere()) == table(None)


def test_each_seed_draws_its_own_few_clips(clips: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    task = streams.load(str(clips), few_shot=2, seed=3)
    drawn: list[tuple[Path, ...]] = []

    def noted(given: Sequence[streams.Clip], *others: Any, **named: Any) -> ClipSet:
        drawn.append(tuple(clip.path for clip in given))
        return labelled(given, *others, **named)

    monkeypatch.setattr("cl_ast.evaluation.comparing.labelled", noted)
    list(compare(task, backbone, [parse("linear"), parse("ssf")], FEW, seeds=2))
    _, _, first, second = drawn  # after validation and test clips; both methods have the same
    assert first == tuple(clip.path for clip in task.train)
    assert len(second) == 4 and set(second) != set(first)


def test_a_method_that_does_not_fit_is_refused_before_any_training(clips: Path, backbone: Backbone) -> None:
    said: list[str] = []
    with pytest.raises(MethodError, match="r=5"):
        compare(streams.load(str(clips)), backbone, [parse("linear"), parse("bone:r=5")], FEW, say=said.append)
    assert not said


class Overflowing(ScaleShift):
    """Finite until its weights move; then nothing is."""

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        moved = (p["scale"] - 1).abs().sum() + p["shift"].abs().sum()
        return super().delta(x, p, training=training) + moved / torch.tensor(1e-45) * 0


def test_one_that_fails_is_reported_and_the_others_go_on(clips: Path, backbone: Backbone) -> None:
    row = Method("overflowing", "", "", "", (), lambda _: (Placement("ffn", Overflowing(), "output"),))
    methods = [parse("overflowing", {**METHODS, "overflowing": row}), parse("linear")]
    bad, good = compare(streams.load(str(clips)), backbone, methods, FEW)
    assert "not a number" in bad.error
    assert (bad.accuracy, bad.accuracies, bad.seconds) == (None, (), None)
    assert good.accuracy is not None
    assert not good.error


# The command


def _run(backbone_folder: Path, home: Path, *words: object) -> str:
    given = [
        "--registry",
        home,
        "-q",
        "--device",
        "cpu",
        "compare",
        *words,
        "--backbone",
        backbone_folder,
        "--epochs",
        1,
    ]
    result = CliRunner().invoke(cli.main, [str(word) for word in given])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_prints_json_and_csv_and_draws(clips: Path, backbone_folder: Path, tmp_path: Path) -> None:
    words = (clips, "--methods", "linear lora:r=2", "--methods", "ssf")
    plot = tmp_path / "methods.svg"
    rows = json.loads(_run(backbone_folder, tmp_path / "r", *words, "--seeds", 2, "--format", "json", "--plot", plot))
    assert [row["family"] for row in rows] == ["linear", "lora", "ssf"]
    assert all(len(row["accuracies"]) == 2 and row["spread"] is not None for row in rows)
    assert "lora:qv" in plot.read_text(encoding="utf-8")
    table = list(csv.DictReader(io.StringIO(_run(backbone_folder, tmp_path / "r", *words, "--format", "csv"))))
    assert [row["method"] for row in table] == [row["method"] for row in rows]
    assert float(table[0]["accuracy"]) >= 0
    assert "test %" in _run(backbone_folder, tmp_path / "r", *words)


def test_the_registry_holds_no_task_afterwards(clips: Path, backbone_folder: Path, tmp_path: Path) -> None:
    Registry.open(tmp_path / "r").close()  # comparing makes none
    _run(backbone_folder, tmp_path / "r", clips, "--methods", "linear")
    result = CliRunner().invoke(cli.main, ["--registry", str(tmp_path / "r"), "tasks", "--format", "json"])
    assert json.loads(result.stdout) == []


# A table of one's own


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
