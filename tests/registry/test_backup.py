"""A backup is a registry of its own: one that the first one was at one moment, whatever happens meanwhile."""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from places import Place

from cl_ast.errors import RegistryError
from registry import Accuracy, NewVersion, Registry

Make = Callable[..., bytes]
New = Callable[..., NewVersion]


@pytest.fixture
def filled(reg: Registry, adapter: Make, new: New) -> Registry:
    """Three tasks, one with two versions and one removed, and measurements."""
    reg.commit("a", adapter(1), new(), [Accuracy("a", "oracle", 0.5, 4), Accuracy("a", "auto", 0.5, 4, {"a": 4})])
    reg.commit("b", adapter(2), new(labels=("\u00e9t\u00e9", "x")), [Accuracy("b", "auto", 0.25, 4, {"a": 1, "b": 3})])
    reg.commit("gone", adapter(3), new())
    reg.remove("gone")
    reg.commit("a", adapter(4), new(training={"epochs": 3}), [Accuracy("a", "auto", 1, 4, {"a": 4})], replace=True)
    return reg


def test_a_backup_is_the_same_registry(filled: Registry, tmp_path: Path, adapter: Make, new: New) -> None:
    report = filled.backup(tmp_path / "backups" / "today")
    assert (report.tasks, report.versions, report.problems) == (2, 3, ())
    with Registry.open(tmp_path / "backups" / "today") as copy:
        assert copy.verify() == []
        assert copy.backbone == filled.backbone
        assert copy.tasks() == filled.tasks()
        assert copy.versions("a") == filled.versions("a")
        assert copy.overview().accuracies == filled.overview().accuracies
        assert copy.overview().routed == filled.overview().routed
        for task in filled.tasks():
            assert copy.read_adapter(task.version) == filled.read_adapter(task.version)
        # It goes on as a registry of its own, and never gives the id of the removed task again.
        before = copy.task("b").version
        copy.commit("d", adapter(7), new())
        assert copy.task("d").id > 3
        copy.rollback("a", 1)
        assert copy.task("b").version == before
    assert [task.name for task in filled.tasks()] == ["b", "a"]


def test_it_has_no_part_in_common_with_the_first(local: Registry, adapter: Make, new: New, tmp_path: Path) -> None:
    local.commit("a", adapter(1), new())
    local.backup(tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        assert path.is_dir() or path.stat().st_nlink == 1


@pytest.mark.parametrize("kind", ["full", "file", "link", "inside", "itself", "url"])
def test_a_place_that_is_taken_is_refused(
    kind: str, folder: Place, local: Registry, adapter: Make, new: New, tmp_path: Path
) -> None:
    local.commit("a", adapter(1), new())
    assert isinstance(folder.location, Path)
    places = {
        "full": tmp_path / "full", "file": tmp_path / "file", "link": tmp_path / "link", "itself": folder.location,
        "inside": folder.location / "backup", "url": Path("s3://bucket/backup"),
    }  # fmt: skip
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(RegistryError, match="name a"):
        local.backup(places[kind])
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_damaged_file_is_named_and_the_rest_copied(
    folder: Place, local: Registry, adapter: Make, new: New, tmp_path: Path
) -> None:
    for number, name in enumerate("abc"):
        local.commit(name, adapter(number), new())
    folder.file(local.task("b").version).write_bytes(b"bits that flipped")
    folder.file(local.task("c").version).unlink()
    report = local.backup(tmp_path / "copy")
    assert [(problem.task, problem.what[:20]) for problem in report.problems] == [
        ("b", "the file is not what"),
        ("c", "the file is missing"),
    ]
    with Registry.open(tmp_path / "copy") as copy:
        assert copy.read_adapter(copy.task("a").version)
        assert [problem.task for problem in copy.verify()] == ["b", "c"]


def test_an_interrupted_backup_is_none(
    local: Registry, adapter: Make, new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.commit("a", adapter(1), new())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RegistryError, match="No space"):
            local.backup(tmp_path / "copy")
    assert not (tmp_path / "copy").exists() and not list(tmp_path.glob(".copy*"))
    assert local.backup(tmp_path / "copy").tasks == 1


def test_a_row_that_cannot_be_right_is_left_out_and_said(
    folder: Place, local: Registry, adapter: Make, new: New, tmp_path: Path
) -> None:
    local.commit("a", adapter(1), new())
    local.commit("b", adapter(2), new())
    assert isinstance(folder.location, Path)
    with closing(sqlite3.connect(folder.location / "registry.db", isolation_level=None)) as connection:
        connection.execute("UPDATE versions SET adapter_sha256 = ? WHERE id = 1", ("../" * 20 + "evil",))
    report = local.backup(tmp_path / "copy")
    assert report.tasks == 1 and sorted(path.name for path in tmp_path.iterdir()) == ["copy", "reg"]
    assert any("cannot be used" in str(problem) for problem in report.problems)
    with Registry.open(tmp_path / "copy") as copy:
        assert [task.name for task in copy.tasks()] == ["b"]


def test_restoring_as_the_docs_say(folder: Place, local: Registry, adapter: Make, new: New, tmp_path: Path) -> None:
    local.commit("a", adapter(1), new(), [Accuracy("a", "oracle", 0.5, 4)])
    before, data = local.overview(), local.read_adapter(local.task("a").version)
    local.backup(tmp_path / "backup")
    assert isinstance(folder.location, Path)
    shutil.rmtree(folder.location)
    shutil.copytree(tmp_path / "backup", folder.location)
    with Registry.open(folder.location, create=False) as again:
        assert again.verify() == [] and again.overview().tasks == before.tasks
        assert again.overview().accuracies == before.accuracies
        assert again.read_adapter(again.task("a").version) == data


_BUSY = """
import random, sys
from pathlib import Path
from conftest import make_adapter, make_new
from registry import Registry
dice = random.Random(3)
with Registry.open(Path(sys.argv[1])) as reg:
    for number in range(100_000):
        if number == 5:
            print("ready", flush=True)
        names = [task.name for task in reg.tasks()]
        kind = dice.randrange(6)
        if kind < 2 or len(names) < 3:
            reg.commit(f"t{number}", make_adapter(number % 250, seed=number), make_new(seed=number))
        elif kind == 2:
            reg.commit(dice.choice(names), make_adapter(number % 250), make_new(seed=number), replace=True)
        elif kind == 3:
            reg.rename(dice.choice(names), f"r{number}")
        elif kind == 4:
            reg.remove(dice.choice(names))
        else:
            reg.gc()
"""


def test_backups_of_a_registry_in_use_are_whole(
    folder: Place, local: Registry, tmp_path: Path, python: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """CL_AST_BACKUPS=131 sets how many."""
    seen = set()
    with python(_BUSY, folder.location) as busy:
        assert busy.stdout and busy.stdout.readline() == "ready\n", busy.stderr and busy.stderr.read()
        for number in range(int(os.environ.get("CL_AST_BACKUPS", "5"))):
            time.sleep(0.05)
            report = local.backup(tmp_path / str(number))
            assert report.problems == ()
            with Registry.open(tmp_path / str(number)) as copy:
                assert copy.verify() == []
                seen.add(tuple(task.version.adapter_sha256 for task in copy.tasks()))
            shutil.rmtree(tmp_path / str(number))
        assert busy.poll() is None, busy.stderr and busy.stderr.read()
        busy.kill()
    assert len(seen) > 1  # it was in use
