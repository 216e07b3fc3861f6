"""`cl-ast compare`: tables, JSON, CSV and plots of grids, which go on where they were stopped."""

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Run


def _compare(run: Run, home: Path, backbone: Path, *words: object) -> str:
    return str(run(home, "-q", "compare", *words, "--backbone", backbone, "--epochs", 1).fine().out)


@pytest.mark.slow
def test_json_csv_and_a_table_of_one_task(run: Run, registry: Path, data: Path, backbone: Path) -> None:
    words = (data / "tones", "--methods", "linear lora:r=2", "--methods", "ssf")
    answer = run(registry, "compare", *words, "--seeds", 2, "--backbone", backbone, "--epochs", 1, "--format", "json")
    rows = answer.fine().json
    assert [row["family"] for row in rows] == ["linear", "lora", "ssf"]
    for row in rows:
        assert len(row["accuracies"]) == 2 and row["spread"] is not None and row["task"] == "tones"
        assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
        assert row["training"]["epochs"] == 1 and row["error"] == ""
    table = list(csv.DictReader(io.StringIO(_compare(run, registry, backbone, *words, "--format", "csv"))))
    assert [row["method"] for row in table] == [row["method"] for row in rows]
    assert all(0 <= float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) <= 1 for row in table)
    shown = _compare(run, registry, backbone, *words)
    assert "test %" in shown and "Avg" not in shown
    assert len(re.findall(r"^(?:linear|lora|ssf)\S* .* \d+ of \d+ ", shown, re.MULTILINE)) == 3  # of few clips a count
    assert [one["name"] for one in run(registry, "tasks", "--format", "json").json] == ["tones", "noises", "chirps"]


@pytest.mark.slow
def test_several_tasks_have_an_average_and_the_same_command_goes_on(
    run: Run, registry: Path, data: Path, backbone: Path, tmp_path: Path
) -> None:
    words = (data / "tones", data / "chirps", "--methods", "linear ssf", "--out", tmp_path / "out", "--format")
    shown = _compare(run, registry, backbone, *words, "table")
    assert re.search(r"^method +parameters +tones % +chirps % +Avg % +95 %$", shown, re.MULTILINE)
    written = (tmp_path / "out" / "results.csv").read_bytes()
    lines = written.splitlines(keepends=True)
    assert len(lines) == 5
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert [(cell["task"], cell["method"], cell["seed"], cell["reason"]) for cell in cells] == [
        (task, method, "0", "") for task in ("tones", "chirps") for method in ("linear", "ssf:whole")
    ]
    tidy = {"what", "fold", "K", "parameters", "validation", "test", "n", "seconds", "bytes", "versions"}
    assert tidy <= set(cells[0])
    (tmp_path / "out" / "results.csv").write_bytes(b"".join(lines[:3]) + lines[3][:20])
    again = run(registry, "compare", *words, "json", "--backbone", backbone, "--epochs", 1).fine()
    assert "2 of 4 trainings are done already" in again.err
    accuracies = [float(cell["test"]) for cell in cells]
    assert [row["accuracy"] for row in again.json] == accuracies


@pytest.mark.slow
def test_plots_against_parameters_a_swept_option_and_few_clips(
    run: Run, registry: Path, data: Path, backbone: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    words = (data / "tones", data / "chirps", "--out", tmp_path, "--methods", "lora:r=1 lora:r=2 ssf")
    swept = (data / "tones", "--methods", "lora bottleneck", "--sweep", "r=1,2", "--out", tmp_path)
    few = (data / "tones", "--methods", "linear", "--few-shot", "1,2", "--few-shot-first", "--out", tmp_path)
    for kind, given, axis in (
        ("svg", words, "trainable parameters"),
        ("svg", swept, "r"),
        ("svg", few, "training clips per class"),
        ("png", few, ""),
    ):
        plot = tmp_path / f"plot.{kind}"
        _compare(run, registry, backbone, *given, "--plot", plot)
        if kind == "png":
            assert plot.read_bytes().startswith(b"\x89PNG")
            continue
        ElementTree.parse(plot)
        text = plot.read_text(encoding="utf-8")
        assert f"<!-- {axis} -->" in text
        assert text.count("<!-- lora -->") == {words: 2, swept: 1, few: 0}[given]  # one label a family and task


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--few-shot", "1,x"], "1,2,4,8"),
        (["--few-shot", "0"], "1,2,4,8"),
        (["--sweep", "r"], "r=1,2,4,8"),
        (["--sweep", "r=a"], "r=1,2,4,8"),
        (["--few-shot-first"], "needs --few-shot"),
        (["more", "--data", "x"], "--data-root"),
    ],
)
def test_wrong_usage(run: Run, registry: Path, data: Path, words: list[str], says: str) -> None:
    answer = run(registry, "-q", "compare", data / "tones", *words)
    assert answer.code == 2
    assert says in " ".join(answer.err.split())


@pytest.mark.slow
def test_what_cannot_be_trained_is_refused_first(run: Run, registry: Path, data: Path, tmp_path: Path) -> None:
    def refused(*words: object, says: str) -> None:
        run(registry, "-q", "compare", data / "tones", *words).refused(says)

    refused("--methods", "linear", "--sweep", "r=1", says="linear")
    refused("--methods", "linear", "--folds", "all", "--few-shot", "99", says="fewer than the 99")
    refused("--methods", "linear", "--folds", "1", says="no folds")
    (tmp_path / "results.csv").write_text("my,own\n")
    refused("--methods", "linear", "--out", tmp_path, says="results of something else")
    assert (tmp_path / "results.csv").read_text() == "my,own\n"
