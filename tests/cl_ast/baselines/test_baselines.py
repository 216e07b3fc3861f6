"""Streams as data, and `cl-ast baselines` from the clips to the table, on small sounds and a tiny backbone."""

import csv
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

import cli
import streams
from cl_ast.adapters.spec import parse as parse_method
from cl_ast.backbone.backbone import Backbone
from cl_ast.baselines.clips import StreamClips
from cl_ast.baselines.comparison import Comparison, summary
from cl_ast.baselines.naive import Naive
from cl_ast.baselines.run import RUN, Job, Runner, Setting, cells_in, cells_text
from cl_ast.baselines.scenarios import PRESETS, Stream, stream_of
from cl_ast.baselines.table import BASELINES, parse
from cl_ast.errors import MethodError, StreamError
from cl_ast.progress import Progress, silent
from cl_ast.training.options import Hyperparameters
from streams.catalog import DATASETS

J = TypeVar("J")
R = TypeVar("R")
LABELS = ("low", "mid", "high", "hiss")
ALL = list(BASELINES)
OPTIONS = Hyperparameters(epochs=2, batch_size=8)


def write(folder: Path, seconds: float, labels: Sequence[str] = LABELS, each: int = 10) -> Path:
    """Write clips of each class, with a metadata.csv that names two speakers."""
    random = np.random.default_rng(len(folder.name))
    (folder / "audio").mkdir(parents=True)
    rows = []
    for label in labels:
        for number in range(each):
            time = np.arange(round(16_000 * seconds)) / 16_000
            hertz = {"low": 200, "mid": 800, "high": 3000}.get(label, 0) * random.uniform(0.9, 1.1)
            sound = 0.3 * np.sin(2 * np.pi * hertz * time) if hertz else 0.1 * random.normal(size=len(time))
            place = f"audio/{label}{number}.wav"
            soundfile.write(folder / place, (sound + 0.001 * random.normal(size=len(time))).astype(np.float32), 16_000)
            rows.append({"file": place, "label": label, "speaker": "ab"[number % 2]})
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "sounds", 0.3)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Longer clips of two of the classes."""
    return write(tmp_path_factory.mktemp("data") / "longer", 0.5, LABELS[:2])


def loaded(folder: Path) -> streams.Task:
    return streams.load(folder, split_by="random")


# Streams


def test_excerpts_of_one_recording_are_different_clips(tmp_path: Path, backbone: Backbone) -> None:
    time = np.arange(8_000) / 16_000
    tones = [0.3 * np.sin(2 * np.pi * hertz * time) for hertz in (200, 3_000)]
    for number in range(3):
        soundfile.write(tmp_path / f"site{number}.wav", np.concatenate(tones), 16_000)
        (tmp_path / f"site{number}.txt").write_text("0.0\t0.5\tlow\n0.5\t1.0\thigh\n")
    task = streams.load(tmp_path)
    clips = StreamClips(stream_of([task, replace(task, name="again")], "til"), backbone, OPTIONS, "mean")
    found, sizes = clips.set_of(0, "train")
    assert found.places == [clip.place for clip in task.train] and len(sizes) == len(task.train)
    features, targets = found.batch(range(len(found)))
    low, high = (features[targets == number] for number in (0, 1))
    assert len(low) and len(high) and not torch.allclose(low[0], high[0], atol=0.1)


def test_an_order_divides_the_classes_among_the_steps(folder: Path) -> None:
    task = loaded(folder)
    stream = stream_of([task], "cil", 2)
    divided = set()
    for order in range(6):
        steps = stream.steps(order)
        assert sorted(number for step in steps for number in step.classes) == [0, 1, 2, 3]
        for number, step in enumerate(steps):
            assert step.number == number
            assert [task.labels[one] for one in step.classes] == list(step.task.labels)
            for split in ("train", "validation", "test"):
                clips = getattr(step.task, split)
                assert {clip.label for clip in clips} == set(step.task.labels)
                assert set(clips) <= set(getattr(task, split))
        assert steps == stream.steps(order)
        divided.add(tuple(step.classes for step in steps))
    assert len(divided) > 2


def test_several_tasks_are_steps_with_classes_of_their_own(folder: Path, other: Path) -> None:
    stream = stream_of([loaded(folder), loaded(other)], "til")
    assert (stream.class_count, stream.step_count) == (6, 2)
    orders = {tuple(step.block for step in stream.steps(order)) for order in range(8)}
    assert orders == {(0, 1), (1, 0)}
    for order in range(2):
        for step in stream.steps(order):
            assert step.classes == ((0, 1, 2, 3), (4, 5))[step.block]


def test_a_domain_is_a_speaker_with_all_classes(folder: Path) -> None:
    stream = stream_of([loaded(folder)], "dil")
    assert "by speaker into 2 steps" in stream.title
    seen = []
    for step in stream.steps(0):
        assert step.classes == (0, 1, 2, 3)
        clips = [*step.task.train, *step.task.validation, *step.task.test]
        assert len({int(clip.path.stem[-1]) % 2 for clip in clips}) == 1
        seen += clips
    assert len({clip.path for clip in seen}) == len(seen) == 40


def test_chance_is_a_guess_among_the_possible_answers(folder: Path, other: Path) -> None:
    sounds, longer = loaded(folder), loaded(other)
    for tasks, scenario, wanted in (
        ([sounds], "cil", [1 / 2, 1 / 4]),
        ([sounds], "til", [1 / 2, 1 / 2]),
        ([sounds], "dil", [1 / 4, 1 / 4]),
    ):
        stream = stream_of(tasks, scenario, None if scenario == "dil" else 2)
        assert stream.chance(0) == pytest.approx(wanted)
    both = stream_of([sounds, longer], "til")
    first = {step.block: both.chance(order)[0] for order in range(8) for step in both.steps(order)[:1]}
    assert first == {0: 1 / 4, 1: 1 / 2} and both.chance(0)[1] == pytest.approx(3 / 8)


def test_what_cannot_be_a_stream_is_refused(folder: Path, other: Path) -> None:
    sounds, longer = loaded(folder), loaded(other)
    with_fold = replace(sounds, source=replace(sounds.source, fold="1"))
    for tasks, scenario, steps, words in (
        ([sounds], "cil", 3, "at most 2 steps, and not 3"),
        ([longer], "cil", 2, "too few to be split"),
        ([sounds, longer], "cil", 2, "leave out --steps"),
        ([sounds, longer], "dil", None, "the same labels, and 'high'"),
        ([sounds], "dil", 3, "2 speakers, which make at most 2"),
        ([with_fold], "dil", None, "leave out --fold"),
        ([sounds, sounds], "cil", None, "two tasks are called sounds"),
    ):
        with pytest.raises(StreamError, match=words):
            stream_of(tasks, scenario, steps)


def test_the_presets_are_data_sets_that_are_known() -> None:
    for preset in PRESETS.values():
        assert preset.task in DATASETS
        assert preset.steps == 5


# Methods


def test_a_method_is_read_with_its_options() -> None:
    spec = parse("derpp:m=20, alpha=0.5")
    assert (spec.values["m"], spec.values["alpha"], spec.values["beta"]) == (20, 0.5, 0.5)
    assert parse(spec.text).values == spec.values
    assert spec.trials() == []  # What is tuned was given.
    assert [one.text for one in parse("derpp:m=20").trials()] == [
        "derpp:m=20",
        "derpp:m=20,alpha=0.1",
        "derpp:m=20,alpha=1",
    ]
    with pytest.raises(MethodError, match="did you mean naive"):
        parse("naiv")
    with pytest.raises(MethodError, match="takes m=N"):
        parse("er:size=3")


def test_all_that_train_have_the_same_number_of_trials() -> None:
    counts = {name: len(row.choices) for name, row in BASELINES.items()}
    assert {counts.pop(name) for name in ("ncm", "ranpac", "ours")} == {0}
    assert set(counts.values()) == {3}
    for row in BASELINES.values():
        default = {one.name: one.default for one in row.options}
        assert not row.tuned or row.choices[0] == default[row.tuned]


# Runs


def setting(adapter: str = "bottleneck:r=2,from=1") -> Setting:
    return Setting(parse_method(adapter), OPTIONS, None, "mean")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["til", "cil", "dil"])
def test_every_method_runs_in_every_scenario(folder: Path, backbone: Backbone, scenario: str) -> None:
    stream = stream_of([loaded(folder)], scenario, 2)
    runner = Runner(stream, backbone, setting())
    for name in ALL:
        found = runner(Job(RUN, "ranpac:n=40" if name == "ranpac" else name, 0, 0))
        assert [one.answer for one in found] == (["by name", "routed"] if name == "ours" else [""])
        for one in found:
            assert not one.error
            assert set(one.cells) == {(0, 0), (1, 0), (1, 1)}
            assert all(0 <= value <= 1 for value in one.cells.values())
            assert (one.cost.trained_parameters == 0) == (name in ("ncm", "ranpac"))
            assert (one.cost.replay_bytes > 0) == (name in ("er", "derpp", "joint"))
            assert one.cost.stored_bytes > 0
            assert one.forward_transfer is not None
        if name == "ours":
            by_name, routed = found
            assert by_name.cells[1, 0] == by_name.cells[0, 0]  # A later task changes nothing.
            assert all(routed.cells[cell] <= value for cell, value in by_name.cells.items()) or scenario == "dil"
    if scenario == "cil":  # A run before leaves nothing behind.
        assert [one.cells for one in runner(Job(RUN, "ours", 0, 0))] == [one.cells for one in found]
    runner.close()


@pytest.mark.slow
def test_steps_of_other_lengths_are_replayed_together(folder: Path, other: Path, backbone: Backbone) -> None:
    stream = stream_of([loaded(folder), loaded(other)], "cil")
    runner = Runner(stream, backbone, setting())
    for name in ("er:m=3", "joint", "derpp:m=3"):
        (found,) = runner(Job(RUN, name, 0, 0))
        assert set(found.cells) == {(0, 0), (1, 0), (1, 1)}


@pytest.mark.slow
def test_a_run_is_the_same_again_and_the_backbone_stays(folder: Path, backbone: Backbone) -> None:
    stream, before = stream_of([loaded(folder)], "cil", 2), {n: t.clone() for n, t in backbone.tensors().items()}

    def cells() -> list[Mapping[tuple[int, int], float]]:
        runner = Runner(stream, backbone, setting())
        return [runner(Job(RUN, name, 1, 1))[0].cells for name in ("er", "l2p", "er:lr=0.5")]

    assert cells() == cells()
    assert all(tensor.equal(before[name]) for name, tensor in backbone.tensors().items())


@pytest.mark.slow
def test_training_that_overflows_is_a_line_and_the_others_go_on(
    folder: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Naive, "loss", lambda self, train, batch: torch.nan * self.cross_entropy(train.pick(batch)))
    stream = stream_of([loaded(folder)], "cil", 2)
    rows, said = compared(stream, backbone, tmp_path, ["naive", "ncm"])
    bad, good = summary(rows, 2)
    assert "not a number" in bad["reason"]
    assert (bad["runs"], bad["last_accuracy"]) == (0, None)
    assert good["runs"] == 2
    assert sum("not a number" in line for line in said) == 3 + 2  # trials and runs


class Elsewhere:
    """An engine whose worker shares no memory with it."""

    def map(self, work: Callable[[J], R], jobs: Sequence[J], progress: Progress = silent) -> Iterator[R]:
        there: Callable[[J], R] = pickle.loads(pickle.dumps(work))
        return (pickle.loads(pickle.dumps(there(job))) for job in jobs)


def compared(
    stream: Stream, backbone: Backbone, folder: Path, methods: Sequence[str], engine: Elsewhere | None = None
) -> tuple[list[dict[str, str]], list[str]]:
    said: list[str] = []
    specs = [parse(one) for one in methods]
    runner = Runner(stream, backbone if engine is None else backbone.name, setting("linear"), device="cpu")
    comparison = Comparison(
        stream, backbone.fingerprint, setting("linear"), specs, orders=1, seeds=range(2), folder=folder
    )
    try:
        return comparison.run(runner, engine, said.append), said
    finally:
        runner.close()


@pytest.mark.slow
def test_what_is_done_is_not_run_again(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    stream = stream_of([loaded(folder)], "cil", 2)
    rows, said = compared(stream, backbone, tmp_path, ["naive", "ncm"])
    assert len(said) == 3 + 2 * 2  # three trials, and two seeds of two methods
    again, nothing = compared(stream, backbone, tmp_path, ["naive", "ncm"])
    assert (again, nothing) == (rows, [])
    lines = (tmp_path / "results.csv").read_bytes().splitlines(keepends=True)
    (tmp_path / "results.csv").write_bytes(b"".join(lines[:-1]))
    again, one = compared(stream, backbone, tmp_path, ["naive", "ncm"])
    assert len(one) == 1
    shown = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    assert [{key: value for key, value in row.items() if key != "seconds"} for row in again] == shown
    _, others = compared(stream_of([loaded(folder)], "til", 2), backbone, tmp_path, ["ncm"])
    assert len(others) == 2  # another scenario is another run


@pytest.mark.slow
def test_an_engine_gives_the_same_rows(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    stream = stream_of([loaded(folder)], "cil", 2)
    here, _ = compared(stream, backbone, tmp_path / "here", ["er:lr=1", "ncm"])
    there, _ = compared(stream, backbone, tmp_path / "there", ["er:lr=1", "ncm"], Elsewhere())
    assert [row["accuracies"] for row in here] == [row["accuracies"] for row in there]


@pytest.mark.slow
def test_the_option_with_the_best_validation_accuracy_is_taken(
    folder: Path, backbone: Backbone, tmp_path: Path
) -> None:
    rows, said = compared(stream_of([loaded(folder)], "cil", 2), backbone, tmp_path, ["joint"])
    with (tmp_path / "results.csv").open(newline="") as file:
        trials = [row for row in csv.DictReader(file) if row["kind"] == "trial"]
    best = max(trials, key=lambda row: float(row["last_accuracy"]))
    assert {row["method"] for row in rows} == {best["method"]}
    assert sum("validation clips" in line for line in said) == len(trials) == 3


# What the runs come to


def test_the_summary_pairs_runs_of_the_same_order_and_seed() -> None:
    def row(method: str, answer: str, seed: int, last: float, diagonal: tuple[float, float]) -> dict[str, str]:
        cells = {(0, 0): diagonal[0], (1, 0): 0.5, (1, 1): diagonal[1]}
        filled = dict.fromkeys(("mean_incremental_accuracy", "forgetting", "backward_transfer"), "0.5")
        costs = dict.fromkeys(("trained_parameters", "stored_bytes", "replay_bytes", "seconds"), "7")
        return {
            "method": method,
            "answer": answer,
            "order": "0",
            "seed": str(seed),
            "last_accuracy": str(last),
            "forward_transfer": "",
            "accuracies": cells_text(cells),
            "reason": "",
            **filled,
            **costs,
        }

    rows = [
        row("naive:lr=3", "", 0, 0.3, (1.0, 0.6)),
        row("joint", "", 0, 0.9, (1.0, 0.9)),
        row("ours", "by name", 0, 0.95, (1.0, 1.0)),
        row("ours", "routed", 0, 0.8, (1.0, 1.0)),
        row("naive:lr=3", "", 1, 0.4, (0.8, 0.6)),
        row("ours", "routed", 1, 0.7, (1.0, 1.0)),
    ]
    naive, joint, by_name, routed = summary(rows, 2)
    assert naive["last_accuracy"] == {"mean": pytest.approx(0.35), "sd": pytest.approx(0.0707, abs=1e-4)}
    assert naive["less_than_ours"] == {"mean": pytest.approx(0.4), "sd": pytest.approx(0.1414, abs=1e-4)}
    assert naive["intransigence"] == {"mean": pytest.approx(0.15), "sd": None}  # joint ran with one seed
    assert naive["forward_transfer"] is None
    assert joint["intransigence"]["mean"] == 0
    assert by_name["less_than_ours"]["mean"] == pytest.approx(-0.15)
    assert routed["less_than_ours"] == {"mean": 0, "sd": 0}
    assert routed["runs"] == 2


def test_accuracies_come_back_from_their_text() -> None:
    cells = {(0, 0): 1 / 3, (1, 0): 0.25, (1, 1): 1.0}
    assert cells_in(cells_text(cells)) == cells
    assert cells_in(cells_text({(1, 1): 0.5})) == {(1, 1): 0.5}
    assert cells_in(cells_text({})) == {}


# The command


def command(backbone_folder: Path, home: Path, *words: object, code: int = 0) -> Any:
    given = ["--registry", home / "r", "-q", "--device", "cpu", "baselines", *words, "--backbone", backbone_folder]
    result = CliRunner().invoke(cli.main, [str(word) for word in given])
    assert result.exit_code == code, result.output
    return result


FAST = ("--methods", "ncm ranpac:n=30", "--orders", 2, "--seeds", 1, "--steps", 2)


@pytest.mark.slow
def test_the_command_prints_table_json_and_csv(folder: Path, backbone_folder: Path, tmp_path: Path) -> None:
    words = (folder, "--split-by", "random", *FAST, "--out", tmp_path / "out")
    report = json.loads(command(backbone_folder, tmp_path, *words, "--format", "json").stdout)
    assert (report["scenario"], report["steps"]) == ("cil", 2)
    assert [line["method"] for line in report["methods"]] == ["ncm", "ranpac:n=30"]
    assert {line["runs"] for line in report["methods"]} == {2}
    rows = list(csv.DictReader(command(backbone_folder, tmp_path, *words, "--format", "csv").stdout.splitlines()))
    assert float(rows[0]["last_accuracy"]) == report["methods"][0]["last_accuracy"]["mean"]
    assert float(rows[0]["last_accuracy_sd"]) == report["methods"][0]["last_accuracy"]["sd"]
    table = command(backbone_folder, tmp_path, *words).stdout
    assert "ncm" in table and "±" in table
    assert not (tmp_path / "r").exists()


def test_what_is_wrong_is_said_before_any_run(folder: Path, backbone_folder: Path, tmp_path: Path) -> None:
    for words, said in (
        ((folder, "--methods", "nacm"), "did you mean ncm"),
        ((folder, "--adapter", "loral", *FAST), "did you mean lora"),
        ((folder, "--steps", 3, "--methods", "ncm"), "change --steps"),
    ):
        assert said in command(backbone_folder, tmp_path, *words, code=1).stderr
