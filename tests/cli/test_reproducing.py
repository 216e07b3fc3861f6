"""`cl-ast reproduce`: a paper's numbers beside ours, what is missing, and quick runs over clips of one's own."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import Run

NAMES = [
    "petl-table-1", "petl-few-shot", "petl-table-3", "petl-table-4", "petl-table-5", "petl-table-6", "petl-table-7",
    "petl-scaling", "petl-scaling-esc50", "conformer-table-1", "conformer-few-shot", "conformer-scaling",
    "conformer-kernel", "conformer-wav2vec",
]  # fmt: skip


def test_the_list_names_every_table_and_figure_with_its_source(run: Run, tmp_path: Path) -> None:
    rows = run(tmp_path / "none", "reproduce", "--list", "--format", "json").fine().json
    assert [row["name"] for row in rows] == NAMES
    assert all("table" in row["source"] or "figure" in row["source"] for row in rows)
    shown = run(tmp_path / "none", "reproduce", "--list").fine().out
    assert all(name in shown for name in NAMES)
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_quick_run_over_clips_of_ones_own_prints_both_numbers(
    run: Run, data: Path, backbone: Path, tmp_path: Path
) -> None:
    words = ["reproduce", "petl-table-4", "--quick", "--backbone", backbone, "--data-root", data / "tones"]
    words += ["--out", tmp_path / "out"]
    first = run(tmp_path / "none", *words, "--format", "json").fine()
    rows = first.json
    assert len(rows) == 4 * 5  # four rows of four data sets and a mean
    by_place = {(row["row"], row["data_set"]): row for row in rows}
    one = by_place["W_q, W_k, W_v, W_o", "fsc"]
    assert one["paper"] == 0.789 and one["method"].startswith("lora:qkvo,r=3")
    assert one["difference"] == pytest.approx(one["ours"] - 0.789)
    for name in ("W_q", "W_q, W_k"):
        ours = [by_place[name, data_set]["ours"] for data_set in ("esc50", "us8k", "gsc", "fsc")]
        assert by_place[name, None]["ours"] == pytest.approx(sum(ours) / 4)
    assert by_place["W_q", None]["paper"] == 0.7913
    assert "take its place" in first.err
    again = run(tmp_path / "none", *words).fine()
    assert "4 of 4 trainings are done already" in again.err
    for said in ("table IV", "79.13", "reproduce nothing", "The paper adapts ast-base", "difference %"):
        assert said in again.out
    run(tmp_path / "none", "report", tmp_path / "out", tmp_path / "page.html").fine()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<code>cl-ast reproduce petl-table-4 --quick</code>" in page and "taken the place" in page
    assert f"{100 * one['ours']:.1f}" in page and "lora:qkvo,<wbr>r=3" in page


@pytest.mark.slow
def test_what_is_missing_is_said_and_the_rest_is_trained(
    run: Run, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "sets" / "speech_commands_v0.02"
    time = np.arange(8_000) / 16_000
    splits: dict[str, list[str]] = {"validation": [], "testing": []}
    for label, hertz in (("yes", 300), ("no", 3_000)):
        (root / label).mkdir(parents=True)
        for number in range(6):
            name = f"{number:08x}_nohash_0.wav"
            soundfile.write(root / label / name, 0.4 * np.sin(2 * np.pi * (hertz + number) * time), 16_000)
            if number >= 4:
                splits["testing" if number == 5 else "validation"].append(f"{label}/{name}")
    for split, names in splits.items():
        (root / f"{split}_list.txt").write_text("".join(f"{name}\n" for name in names))
    words = ["reproduce", "petl-table-4", "--quick", "--backbone", backbone, "--data-root", tmp_path / "sets"]
    answer = run(tmp_path / "none", "-q", *words, "--format", "json").fine()
    assert "Fluent Speech Commands is not there" in answer.err and "Speech Commands v2 is" not in answer.err
    found = {row["data_set"]: row for row in answer.json if row["row"] == "W_q"}
    assert found["gsc"]["ours"] is not None and found["gsc"]["reason"] == ""
    assert found["fsc"]["ours"] is None and "Fluent Speech Commands" in found["fsc"]["reason"]
    assert found["fsc"]["paper"] == 0.6184 and found[None]["ours"] is None


def test_wrong_names_missing_data_and_missing_weights(run: Run, data: Path, tmp_path: Path) -> None:
    def refused(*words: object, code: int, says: str) -> None:
        answer = run(tmp_path / "none", "-q", "reproduce", *words)
        assert answer.code == code
        assert says in " ".join(answer.err.split())

    refused(code=2, says="--list shows all")
    refused("table-9", code=2, says="petl-table-1, petl-few-shot")
    refused("petl-table-4", "--data-root", tmp_path, code=1, says="no data set of petl-table-4 is there")
    refused("petl-table-4", "--quick", "--data-root", data / "tones", code=1, says="try --backbone ast-mini")


@pytest.mark.slow
def test_a_figure_is_drawn_against_its_option(run: Run, data: Path, backbone: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    words = ["reproduce", "conformer-kernel", "--quick", "--backbone", backbone, "--data-root", data / "tones"]
    shown = run(tmp_path / "none", *words, "--plot", tmp_path / "kernel.svg").fine().out
    assert "The paper prints no numbers of this figure." in shown
    text = (tmp_path / "kernel.svg").read_text(encoding="utf-8")
    assert text.count("<!-- k -->") == 2 and text.count("<!-- conformer -->") == 2  # a panel a data set
