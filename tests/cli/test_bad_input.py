"""What a user can get wrong: one clear line, the right exit code, and a registry as it was."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from registry import Registry
from tests.cli.conftest import MakeFolder, Run, Unchanged

RATE = 16_000


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("this is a letter, not a sound\n" * 50)


def _truncated(path: Path) -> None:
    soundfile.write(path, np.full(8000, 0.1), RATE, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:4000])


def _not_numbers(path: Path) -> None:
    samples = np.full(8000, 0.1, dtype=np.float32)
    samples[100] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")


def _no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0), RATE, subtype="PCM_16")


Bad = tuple[Callable[[Path], None], str]  # how to spoil a clip, and a word of what is said about it

BAD: dict[str, Bad] = {
    "missing": (_missing, ""),
    "empty": (_empty, "empty"),
    "text": (_text, "not audio"),
    "truncated": (_truncated, "truncated"),
    "not-numbers": (_not_numbers, "not numbers"),
    "no-samples": (_no_samples, "no samples"),
}


@pytest.fixture(params=BAD)
def bad(request: pytest.FixtureRequest) -> tuple[Callable[[Path], None], str]:
    """Give each way to spoil a clip."""
    return BAD[request.param]


def listed(folder: Path) -> Path:
    """The folder with a metadata.csv that names its clips."""
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "label"])
        table.writerows([path.relative_to(folder), path.parent.name] for path in sorted(folder.rglob("*.wav")))
    return folder


# Clips


def test_predict_names_a_bad_clip_and_answers_the_others(
    cl: Run, registry: Path, unchanged: Unchanged, bad: Bad, data: Path, tmp_path: Path
) -> None:
    spoil, said = bad
    spoil(tmp_path / "bad.wav")
    good = [data / "tones" / "low" / "00.wav", data / "tones" / "low" / "01.wav"]
    with unchanged(registry):
        answer = cl("predict", good[0], tmp_path / "bad.wav", good[1], "--format", "json")
    answer.refused(str(tmp_path / "bad.wav"), said)
    assert [one["path"] for one in answer.json] == list(map(str, good))


def test_predict_with_nothing_but_a_bad_clip_is_still_json(cl: Run, bad: Bad, tmp_path: Path) -> None:
    spoil, said = bad
    spoil(tmp_path / "bad.wav")
    assert cl("predict", tmp_path / "bad.wav", "--format", "json").refused(said).json == []


@pytest.mark.slow
def test_a_bad_clip_in_a_folder_to_learn(
    cl: Run, registry: Path, unchanged: Unchanged, bad: Bad, clips: MakeFolder, quick: list[object]
) -> None:
    spoil, said = bad
    folder = listed(clips())
    clip = folder / "low" / "04.wav"
    spoil(clip)
    with unchanged(registry):
        cl("-q", "add-task", folder, *quick).refused(str(clip.relative_to(folder)), said)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_a_bad_clip_is_met_in_whichever_split_it_falls(
    cl: Run, registry: Path, unchanged: Unchanged, clips: MakeFolder, quick: list[object], number: int
) -> None:
    folder = clips()
    clip = folder / "low" / f"{number:02}.wav"
    _text(clip)
    with unchanged(registry):
        cl("-q", "add-task", folder, *quick).refused(str(clip))


def test_standard_input_that_is_no_audio(cl: Run) -> None:
    cl("predict", "-", stdin=b"").refused("standard input", "empty")
    cl("predict", "-", stdin=b"this is a letter").refused("standard input", "not audio")


def test_a_folder_without_clips_does_not_stop_the_others(cl: Run, tmp_path: Path, data: Path) -> None:
    (tmp_path / "empty").mkdir()
    good = data / "tones" / "low" / "00.wav"
    answer = cl("predict", tmp_path / "empty", good, "--format", "json").refused(str(tmp_path / "empty"))
    assert [one["path"] for one in answer.json] == [str(good)]


# Folders to learn


def test_one_class_only(cl: Run, registry: Path, unchanged: Unchanged, clips: MakeFolder, quick: list[object]) -> None:
    folder = clips()
    shutil.rmtree(folder / "high")
    with unchanged(registry):
        cl("-q", "add-task", folder, *quick).refused(str(folder), "class")


def test_a_class_with_one_clip(
    cl: Run, registry: Path, unchanged: Unchanged, clips: MakeFolder, quick: list[object]
) -> None:
    folder = clips()
    for path in sorted((folder / "high").iterdir())[1:]:
        path.unlink()
    with unchanged(registry):
        cl("-q", "add-task", folder, *quick).refused(str(folder), "high")


def test_a_folder_without_labels(
    cl: Run, registry: Path, unchanged: Unchanged, data: Path, quick: list[object]
) -> None:
    with unchanged(registry):
        cl("-q", "add-task", data / "tones" / "low", *quick).refused("00.wav", "metadata.csv")


def test_a_folder_that_is_not_there(
    cl: Run, registry: Path, unchanged: Unchanged, tmp_path: Path, quick: list[object]
) -> None:
    with unchanged(registry):
        cl("-q", "add-task", tmp_path / "nowhere", *quick).refused(str(tmp_path / "nowhere"), "esc50")


def test_a_file_for_a_folder(cl: Run, registry: Path, unchanged: Unchanged, data: Path, quick: list[object]) -> None:
    clip = data / "tones" / "low" / "00.wav"
    with unchanged(registry):
        cl("-q", "add-task", clip, *quick).refused(str(clip), "not a folder")


@pytest.mark.parametrize(
    ("task", "page"), [("esc50", "https://github.com/karolpiczak/ESC-50"), ("iemocap", "https://")]
)
@pytest.mark.parametrize("where", [[], ["--data", "my-data"]], ids=["default", "data"])
def test_a_data_set_that_is_missing(
    cl: Run,
    registry: Path,
    unchanged: Unchanged,
    task: str,
    page: str,
    where: list[str],
    quick: list[object],
    tmp_path: Path,
) -> None:
    place = tmp_path / "user-data" if not where else Path("my-data")
    with unchanged(registry):
        cl("-q", "add-task", task, *where, *quick).refused(str(place), page, "--data DIR")


# Names and options


@pytest.mark.parametrize("name", ["tones", "TONES", "Tones"])
def test_a_name_that_is_taken(
    cl: Run, registry: Path, unchanged: Unchanged, clips: MakeFolder, quick: list[object], name: str
) -> None:
    with unchanged(registry):
        cl("-q", "add-task", clips(), *quick, "--name", name).refused(name, "already", "--replace")


@pytest.mark.parametrize("name", ["auto", "a/b", " ", "x" * 300])
def test_a_name_that_cannot_be_is_refused_before_training(
    cl: Run, registry: Path, unchanged: Unchanged, clips: MakeFolder, quick: list[object], name: str
) -> None:
    with unchanged(registry):
        answer = cl("add-task", clips(), *quick, "--name", name)
    assert answer.code == 1
    assert "training" not in answer.err
    assert name[:40] in answer.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "bottelneck"], ["'bottelneck'", "did you mean bottleneck?"]),
        (["--method", "bottleneck:banana"], ["'banana'"]),
        (["--method", "bottleneck:r=many"], ["r=many"]),
        (["--method", "linear+lora"], ["linear"]),
        (["--lr", "0"], ["learning rate"]),
        (["--lr", "nan"], ["learning rate"]),
        (["--max-seconds", "0"], ["max_seconds"]),
        (["--fold", "2"], ["fold"]),
        (["--split-by", "speaker"], ["speaker"]),
        (["--resume", "--method", "linear"], ["no interrupted training", "end of an epoch, 60 s or more", "--resume"]),
    ],
)
def test_an_option_that_does_not_fit(
    cl: Run, registry: Path, unchanged: Unchanged, clips: MakeFolder, backbone: Path, words: list[str], said: list[str]
) -> None:
    with unchanged(registry):
        cl("-q", "add-task", clips(), "--epochs", 1, "--backbone", backbone, *words).refused(*said)


@pytest.mark.parametrize("command", [["predict", "clip.wav", "--task"], ["show"], ["remove"], ["evaluate"]])
def test_a_task_that_is_not_there(cl: Run, registry: Path, unchanged: Unchanged, command: list[str]) -> None:
    with unchanged(registry):
        cl("-q", *command, "whales").refused("whales", "tones")


# Registries and backbones


def test_predict_with_an_empty_registry(tmp_path: Path, run: Run, data: Path) -> None:
    Registry.open(tmp_path / "new").close()
    answer = run(tmp_path / "new", "predict", data / "tones" / "low" / "00.wav")
    assert answer.refused("no task yet", "cl-ast add-task").out == ""


def test_a_registry_of_another_backbone(
    cl: Run,
    registry: Path,
    unchanged: Unchanged,
    clips: MakeFolder,
    backbone: Path,
    other_backbone: Path,
    quick: list[object],
) -> None:
    with unchanged(registry):
        answer = cl("-q", "add-task", clips(), *quick, "--backbone", other_backbone)
        answer.refused(str(backbone), str(other_backbone), "another registry")


@pytest.mark.parametrize("name", ["no-such-backbone", "nobody/no-such-backbone"])
def test_a_backbone_that_is_not_there(
    tmp_path: Path, run: Run, clips: MakeFolder, quick: list[object], name: str
) -> None:
    run(tmp_path / "new", "-q", "add-task", clips(), *quick, "--backbone", name).refused(name)
    assert run(tmp_path / "new", "tasks", "--format", "json").json == []


def test_a_backbone_without_weights(
    tmp_path: Path, run: Run, clips: MakeFolder, quick: list[object], backbone: Path
) -> None:
    folder = Path(shutil.copytree(backbone, tmp_path / "hollow"))
    (folder / "model.safetensors").unlink()
    run(tmp_path / "new", "-q", "add-task", clips(), *quick, "--backbone", folder).refused(str(folder))


@pytest.mark.parametrize("words", [["tasks"], ["stats"], ["predict", "clip.wav"], ["rebuild"]])
def test_a_registry_that_is_a_file(tmp_path: Path, run: Run, words: list[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert run(tmp_path / "file", *words).refused(str(tmp_path / "file")).out == ""
    assert (tmp_path / "file").read_text() == "mine"


def test_a_registry_that_is_no_database(tmp_path: Path, run: Run) -> None:
    (tmp_path / "registry.db").write_text("mine, and long enough to be looked at as a database" * 20)
    run(tmp_path, "tasks").refused(str(tmp_path))
    assert (tmp_path / "registry.db").read_text().startswith("mine")
