"""`score`: event F1 of files on the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def events(tmp_path: Path) -> Path:
    rows = [{"path": "a.wav", "start": 1.0, "end": 2.0, "label": label, "score_max": 0.9} for label in ("dog", "rain")]
    (tmp_path / "found.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1.1\t2.1\tdog\n5\t6\tdog\n")
    return tmp_path


def test_events_are_scored(run: Run, events: Path) -> None:
    words = ["score", events / "found.jsonl", events / "labels"]
    found = run(events / "home", *words, "--format", "json").fine().json
    assert found["overall"] == {"reference": 2, "found": 2, "right": 1, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert [one["label"] for one in found["classes"]] == ["dog", "rain"]
    assert found["macro_f1"] == pytest.approx(2 / 3)
    assert (
        run(events / "home", *words, "--collar", 0.05, "--offset-share", 0, "--format", "json")
        .fine()
        .json["overall"]["right"]
        == 0
    )
    rows = run(events / "home", *words, "--format", "csv").fine().out.splitlines()
    assert rows[0] == "label,reference,found,right,precision,recall,f1"
    assert rows[-1] == ",2,2,1,0.5,0.5,0.5"
    shown = run(events / "home", *words).fine().out
    assert "mean F1 of the classes: 66.7 %" in shown
    (events / "labels" / "a.txt").rename(events / "labels" / "b.txt")
    assert "1 recording with events is not in" in run(events / "home", *words).fine().err


def test_what_cannot_be_scored_is_refused(run: Run, events: Path) -> None:
    (events / "found.jsonl").write_text("{}")
    run(events / "home", "-q", "score", events / "found.jsonl", events / "labels").refused("row 1 is no event")
