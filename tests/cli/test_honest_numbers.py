"""Numbers that promise no more than they can: counts for few clips, warnings, and calibrated probabilities."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.cli.conftest import MakeFolder, Run

pytestmark = pytest.mark.slow


def test_few_clips_are_counts_everywhere(
    cl: Run, run: Run, clips: MakeFolder, quick: list[object], tmp_path: Path
) -> None:
    home = tmp_path / "fresh"
    answer = run(home, "add-task", clips(), *quick).fine()
    accuracy = run(home, "tasks", "--format", "json").json[0]["learned_accuracy"]
    count = f"{round(4 * accuracy)} of 4"
    sentence, *table = answer.out.splitlines()
    assert f"test accuracy {count} (" in sentence
    assert "validation 2 of 2 (34–100 %) " in sentence or "validation 1 of 2 (9–91 %) " in sentence
    assert f"{count} (" in table[-1]
    assert count in run(home, "tasks").out
    assert f"{count} (" in run(home, "show", "clips").out
    assert count in run(home, "stats").out
    (measured,) = run(home, "evaluate", "--format", "json").fine().json
    assert (measured["right"], measured["clips"]) == (round(4 * accuracy), 4)
    low, high = measured["interval"]
    assert 0 <= low <= accuracy <= high <= 1
    assert run(home, "stats", "--format", "json").json["tasks"][0]["test_clips"] == 4
    run(home, "export", "clips", tmp_path / "out").fine()
    assert f"| {count} (" in (tmp_path / "out" / "README.md").read_text()


def test_a_class_with_few_clips_is_named(run: Run, clips: MakeFolder, quick: list[object], tmp_path: Path) -> None:
    answer = run(tmp_path / "r", "add-task", clips(), *quick, "--format", "json").fine()
    err = answer.err
    assert len(answer.json["notes"]) == 1
    assert answer.json["notes"][0] in err
    assert "clips: 2 of 2 classes have fewer than 10 test clips (high 2, low 2)" in err
    assert "training clips" not in err.replace("reading training clips", "").replace("over training clips", "")
    folder = clips("fewer", 6)
    err = run(tmp_path / "r", "add-task", folder, *quick, "--no-eval").fine().err
    assert "fewer: 2 of 2 classes have fewer than 5 training clips (high 4, low 4)" in err
    assert "test clips" not in err
    err = run(tmp_path / "r", "add-task", folder, *quick, "--replace", "--few-shot", 2, "--no-eval").fine().err
    assert "fewer than" not in err


def test_figures_of_other_test_clips_are_not_comparable(
    run: Run, clips: MakeFolder, quick: list[object], tmp_path: Path
) -> None:
    home, folder = tmp_path / "r", clips()
    run(home, "add-task", folder, *quick).fine()
    same = run(home, "add-task", folder, *quick, "--replace", "--epochs", 1).fine()
    assert "not comparable" not in same.err
    other = run(home, "add-task", folder, *quick, "--replace", "--seed", 5).fine()
    assert "clips: version 2 was tested on other clips, so its test accuracy (" in other.err
    assert "of 4 (" in other.err
    assert "and that of version 3 (" in other.err


def _ambiguous(clips: MakeFolder) -> Path:
    """Return a folder in which some clips are in both classes, which no head can tell apart."""
    folder = clips(clips=16)
    for number in range(8):
        shutil.copy(folder / "low" / f"{number:02}.wav", folder / "high" / f"low-{number:02}.wav")
    return folder


def _scores(run: Run, home: Path, folder: Path) -> list[dict[str, float]]:
    answers = run(home, "predict", folder, "--task", "clips", "--format", "json").fine().json
    return [{one["label"]: one["score"] for one in answer["labels"]} for answer in answers]


def _logits(home: Path, folder: Path) -> list[list[float]]:
    from cl_ast import Manager
    from cl_ast.audio.reading import read

    with Manager.open(home, device="cpu") as manager:
        found = manager.logits([read(path) for path in sorted(folder.rglob("*.wav"))], "clips")
    return [[float(value) for value in row] for row in found]


def test_probabilities_are_calibrated_and_logits_are_not_changed(
    run: Run, clips: MakeFolder, quick: list[object], tmp_path: Path
) -> None:
    folder, plain, calibrated = _ambiguous(clips), tmp_path / "plain", tmp_path / "calibrated"
    run(plain, "add-task", folder, *quick, "--no-calibration").fine()
    run(calibrated, "add-task", folder, *quick).fine()
    assert _logits(plain, folder) == _logits(calibrated, folder)
    shown = run(calibrated, "show", "clips", "--format", "json").json
    temperature = shown["training"]["temperature"]
    assert 0.05 <= temperature <= 20
    assert temperature != 1
    assert f"calibrated, temperature {temperature:.4g}" in run(calibrated, "show", "clips").out
    assert run(plain, "show", "clips", "--format", "json").json["training"]["temperature"] is None
    assert "as the head gives them" in run(plain, "show", "clips").out
    for logits, one, other in zip(
        _logits(plain, folder), _scores(run, plain, folder), _scores(run, calibrated, folder), strict=True
    ):
        assert list(one) == list(other)  # the same label first
        assert one == pytest.approx(_softmax(logits, 1), abs=1e-5)
        assert other == pytest.approx(_softmax(logits, temperature), abs=1e-5)
    for home, expected in ((plain, None), (calibrated, temperature)):
        again = tmp_path / f"again-{home.name}"
        run(home, "relearn", "--to", again, "--backbone", quick[1]).fine()
        found = run(again, "show", "clips", "--format", "json").json["training"]["temperature"]
        assert found == (None if expected is None else pytest.approx(expected))


def _softmax(logits: list[float], temperature: float) -> dict[str, float]:
    import torch

    high, low = (torch.tensor(logits) / temperature).softmax(dim=0).tolist()
    return {"high": high, "low": low}


def test_the_temperature_goes_with_an_export_and_a_wrong_one_is_refused(
    run: Run, clips: MakeFolder, quick: list[object], stage: MakeFolder, tmp_path: Path
) -> None:
    folder, home, out = _ambiguous(clips), tmp_path / "r", tmp_path / "out"
    run(home, "add-task", folder, *quick).fine()
    run(home, "export", "clips", out).fine()
    assert run(home, "show", "clips", "--format", "json").json["training"]["temperature"] != 1
    other = stage("tones", "other")  # over the same backbone
    run(other, "import", out).fine()
    assert _scores(run, other, folder) == _scores(run, home, folder)
    run(home, "route", "clips").fine()  # a new version with the same adapter
    assert _scores(run, other, folder) == _scores(run, home, folder)
    for number, value in enumerate((0, -1, 1e9, "hot", True, [1], None)):
        wrong = Path(shutil.copytree(out, tmp_path / f"wrong-{number}"))
        _with_temperature(wrong, value)
        answer = run(other, "import", wrong, "--name", f"wrong-{number}")
        if value is None:  # as in a folder of an older release
            answer.fine()
        else:
            answer.refused("temperature", "from 0.05 to 20")


def _with_temperature(folder: Path, value: Any) -> None:
    """Write another temperature into the header of an exported task, as somebody else could."""
    (path,) = [path for path in folder.glob("*.safetensors") if _described(path)]
    facts = _described(path)
    facts["temperature"] = value
    save_file(load_file(path), path, metadata={"cl_ast": json.dumps(facts)})


def _described(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return dict(json.loads((file.metadata() or {}).get("cl_ast", "{}")))
