"""The demo tells its whole story, can tell it again, and replaces nothing that it did not make."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from cl_ast.terminal import demo_story as demo
from registry import Registry


@pytest.mark.slow
def test_the_demo_learns_predicts_and_ends_with_statistics_and_can_be_run_again(
    short_demo: None, tmp_path: Path
) -> None:
    for _ in range(2):
        told = CliRunner().invoke(cli.main, ["-q", "demo", str(tmp_path / "demo")])
        assert told.exit_code == 0, told.output
        for task in demo.TASKS:
            assert f"{task.name} trained in" in told.stdout
        assert "noise.wav" in told.stdout
        assert "forgetting" in told.stdout
        assert told.stdout.index("forgetting") < told.stdout.index("Everything is in")
    with Registry.open(tmp_path / "demo" / "registry") as registry:
        assert [task.name for task in registry.tasks()] == [task.name for task in demo.TASKS]
        registry.rename("sounds", "mine")
    refused = CliRunner().invoke(cli.main, ["-q", "demo", str(tmp_path / "demo")])
    assert refused.exit_code == 1
    assert "has other tasks than the demo's (mine)" in refused.stderr
    with Registry.open(tmp_path / "demo" / "registry") as registry:
        registry.rename("mine", "sounds")
    (tmp_path / "demo" / demo._MARK).unlink()  # as a release without marks left it
    demo.make_room(tmp_path / "demo")
    assert not (tmp_path / "demo" / "registry").exists()


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("registry.db-")
    }


def _own_registry(folder: Path, registry: Path) -> None:
    with Registry.open(registry) as opened:
        for old, task in zip(["tones", "noises", "chirps"], demo.TASKS, strict=True):
            opened.rename(old, task.name)
    shutil.copytree(registry, folder / "registry")


def _own_clips(folder: Path, registry: Path) -> None:
    (folder / "clips" / "sounds").mkdir(parents=True)
    (folder / "clips" / "sounds" / "00.wav").write_bytes(b"mine")


def _marked_and_own_registry(folder: Path, registry: Path) -> None:
    demo.make_room(folder)
    _own_registry(folder, registry)


def _own_recordings(folder: Path, registry: Path) -> None:
    (folder / "dog").mkdir(parents=True)
    (folder / "dog" / "1.wav").write_bytes(b"a recording")


def _marked_and_notes(folder: Path, registry: Path) -> None:
    demo.make_room(folder)
    with Registry.open(folder / "registry"):
        (folder / "registry" / "notes.txt").write_text("mine")


def _link(folder: Path, registry: Path) -> None:
    folder.mkdir()
    (folder / "registry").symlink_to(registry)


@pytest.mark.parametrize(
    "make",
    [_own_registry, _own_clips, _own_recordings, _marked_and_own_registry, _marked_and_notes, _link],
    ids=lambda make: make.__name__,
)
def test_the_demo_leaves_alone_what_it_did_not_make(
    make: Callable[[Path, Path], None], registry: Path, tmp_path: Path
) -> None:
    make(tmp_path / "home", registry)
    before = _files(tmp_path)
    told = CliRunner().invoke(cli.main, ["-q", "demo", str(tmp_path / "home")])
    assert told.exit_code == 1
    assert told.stderr.startswith("cl-ast: ")
    assert "use another folder for the demo" in told.stderr
    assert _files(tmp_path) == before
