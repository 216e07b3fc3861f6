"""Data that changed since a task was trained: it is measured on its own test clips, or skipped with the reason."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import streams
from tests.cli.conftest import Run

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, run: Run, backbone: Path) -> Path:
    """A folder with the clips in `data`, a copy of them in `as-learned`, and `home`, which learned the task of them.

    There are twenty clips of each of two classes, without folds or splits of their own.
    """
    root = tmp_path_factory.mktemp("learned")
    random = np.random.default_rng(0)
    time = np.arange(8_000) / 16_000
    for label, hertz in (("low", 300), ("high", 3_000)):
        (root / "data" / label).mkdir(parents=True)
        for number in range(20):
            samples = 0.4 * np.sin(2 * np.pi * (hertz + 10 * number) * time) + 0.01 * random.normal(size=8_000)
            soundfile.write(root / "data" / label / f"{number:02}.wav", samples, 16_000)
    shutil.copytree(root / "data", root / "as-learned")
    words = ["--backbone", backbone, "--method", "linear", "--epochs", 2]
    run(root / "home", "add-task", root / "data", "--name", "tones", *words).fine()
    return root


@pytest.fixture
def folder(learned: Path) -> Path:
    """The clips, as they were learned, to be changed: a registry looks for them where they were."""
    shutil.rmtree(learned / "data")
    return Path(shutil.copytree(learned / "as-learned", learned / "data"))


@pytest.fixture
def home(learned: Path, tmp_path: Path) -> Path:
    """A copy of the registry."""
    return Path(shutil.copytree(learned / "home", tmp_path / "home"))


def _more(folder: Path, count: int, name: str = "new") -> None:
    """Add clips of the other class's sound: whoever measures on them is wrong."""
    for label, other in (("low", "high"), ("high", "low")):
        data, rate = soundfile.read(folder / other / "00.wav")
        for number in range(count):
            soundfile.write(folder / label / f"{name}{number:02}.wav", data * (1 - number / 100), rate)


def _measured(run: Run, home: Path) -> dict[str, Any]:
    (row,) = run(home, "evaluate", "--format", "json").fine().json
    return dict(row)


@pytest.mark.slow
def test_clips_that_came_later_are_not_measured(run: Run, home: Path, folder: Path) -> None:
    before = _measured(run, home)
    for count in (1, 3, 6, 20):
        _more(folder, count)
        assert _measured(run, home) == before, count
    run(home, "route").fine()
    assert _measured(run, home)["accuracy"] == before["accuracy"]


@pytest.mark.parametrize("change", [
    lambda folder: (folder / "low" / "00.wav").rename(folder / "high" / "moved.wav"),
    lambda folder: [path.unlink() for path in sorted((folder / "low").glob("*.wav"))[:18]],
    lambda folder: [path.write_bytes(path.read_bytes() + b"\0\0") for path in folder.rglob("*.wav")],
    lambda folder: (folder / "low").rename(folder / "deep"),
    lambda folder: [path.rename(path.with_name(f"x{path.name}")) for path in sorted(folder.rglob("*.wav"))],
], ids=["a label changed", "clips gone", "clips written again", "a class renamed", "files renamed"])  # fmt: skip
def test_what_cannot_be_found_again_is_skipped_with_the_reason(
    run: Run, home: Path, folder: Path, change: Change
) -> None:
    change(folder)
    for words in (["evaluate"], ["route"]):
        answer = run(home, "-q", *words)
        assert answer.code == 1
        assert "since it was trained" in answer.err and "--replace" in answer.err
    answer = run(home, "-q", "relearn", "--to", home.with_name("again"), "--backbone", "ast-mini")
    assert answer.code == 1 and "since it was trained" in answer.err


@pytest.mark.slow
def test_another_task_shows_no_forgetting_that_is_none(run: Run, home: Path, folder: Path, data: Path) -> None:
    _more(folder, 6)
    run(home, "add-task", data / "chirps", "--method", "linear", "--epochs", 2).fine()
    report = run(home, "stats", "--format", "json").fine().json
    assert report["metrics"]["oracle"]["forgetting"] == 0


@pytest.mark.slow
def test_a_version_of_an_older_release_is_measured_while_its_data_are_the_same(
    run: Run, home: Path, folder: Path
) -> None:
    from safetensors.torch import load, save

    from cl_ast import Manager
    from registry import header

    with Manager.open(home, device="cpu") as manager:
        version = manager.registry.task("tones").version
        data = manager.registry.read_adapter(version)
        tensors = {name: tensor for name, tensor in load(data).items() if not name.startswith("split.")}
        manager.registry.commit("tones", save(tensors, header.read(data).metadata), version.facts(), replace=True)
    before = _measured(run, home)
    _more(folder, 1)
    answer = run(home, "-q", "evaluate")
    assert answer.code == 1 and "did not record which clips" in answer.err
    for path in folder.rglob("new*.wav"):
        path.unlink()
    assert _measured(run, home) == before


def test_an_export_does_not_say_which_clips_there_were(run: Run, home: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    run(home, "export", "tones", tmp_path / "out").fine()
    assert not any("split" in name for name in load_file(tmp_path / "out" / "adapter_model.safetensors"))


def test_the_same_data_elsewhere_have_the_same_members(folder: Path, tmp_path: Path) -> None:
    from streams.recorded_split import members_of

    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "data")
    assert members_of(streams.load(folder)) == members_of(streams.load(copy))
