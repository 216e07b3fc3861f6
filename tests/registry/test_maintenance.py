"""verify, gc and rebuild: damage is found and stays where it is, leftovers go, a lost database comes back."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import places
import pytest
from places import Place, matrix

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import Accuracy, BackboneRecord, NewVersion, Registry, TaskRecord, header
from registry.adapter_files import digest

Make = Callable[..., bytes]
New = Callable[..., NewVersion]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("at", [-1, 0, 40])
def test_a_flipped_bit_concerns_one_task(place: Place, reg: Registry, adapter: Make, new: New, at: int) -> None:
    tasks = {name: reg.commit(name, adapter(), new()) for name in ("good", "bad", "fine")}
    flip(place.file(tasks["bad"].version), at)
    with pytest.raises(CorruptRegistryError, match='"bad"') as caught:
        reg.read_adapter(tasks["bad"].version)
    assert '"good"' not in str(caught.value)
    for name in ("good", "fine"):
        assert reg.read_adapter(tasks[name].version)
    (problem,) = reg.verify()
    assert (problem.task, problem.place) == ("bad", str(place.file(tasks["bad"].version)))
    assert "bad" in str(problem) and len(reg.tasks()) == 3


@pytest.mark.slow
def test_a_missing_file_and_a_damaged_earlier_version(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    first = reg.commit("a", adapter(1), new())
    second = reg.commit("a", adapter(2), new(), replace=True)
    flip(place.file(first.version), -1)
    with pytest.raises(CorruptRegistryError, match="version 1"):
        reg.rollback("a")
    assert reg.task("a") == second
    place.file(second.version).unlink()
    with pytest.raises(CorruptRegistryError, match="missing"):
        reg.read_adapter(second.version)
    assert [problem.task for problem in reg.verify()] == ["a", "a"]
    assert reg.rename("a", "b").name == "b", "damage does not stand in the way of a rename"


@pytest.mark.slow
def test_gc_drops_what_nothing_names_and_no_more(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    folder = place.adapters
    old = reg.commit("a", adapter(1), new())
    reg.commit("a", adapter(2), new(), [Accuracy("a", "oracle", 0.5, 4)], replace=True)
    (folder / f"{'0' * 64}.safetensors").write_bytes(b"unnamed")
    (folder / f".{'0' * 16}.tmp").write_bytes(b"interrupted")
    (folder / "notes.txt").write_text("the user's own")
    would = reg.gc(dry_run=True)
    assert len(would.dropped) == 3 and place.file(old.version).exists()
    done = reg.gc()
    assert done.dropped == would.dropped
    assert done.bytes == len(b"unnamed") + len(b"interrupted") + old.version.adapter_bytes
    assert sorted(path.suffix for path in place.files()) == [".safetensors", ".txt"]
    assert [version.number for version in reg.versions("a")] == [2]
    assert reg.gc().dropped == () and reg.verify() == [] and matrix(reg) == [[0.5]]


def test_storage_is_what_lies_on_the_disk(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(1, floats=100), new())
    current = reg.commit("a", adapter(2, floats=1000), new(), replace=True)
    storage = reg.overview().storage
    assert storage.adapter_bytes == current.version.adapter_bytes == place.file(current.version).stat().st_size
    assert storage.all_bytes == sum(path.stat().st_size for path in place.adapters.iterdir())
    assert storage.database_bytes > 4096


@pytest.mark.slow
def test_rebuild_restores_the_same_tasks(
    place: Place, reg: Registry, adapter: Make, new: New, backbone: BackboneRecord
) -> None:
    for i, name in enumerate(["c", "a", "gone", "b"]):
        reg.commit(name, adapter(i), new(labels=tuple(f"{name}{k}" for k in range(i + 1)), seed=i))
    reg.commit("c", adapter(9), new(source={"folder": "more"}), replace=True)
    reg.remove("gone")
    reg.rename("a", "renamed")
    before, versions = reg.tasks(), reg.versions("c")
    place.lose()
    with pytest.raises(CorruptRegistryError, match="cl-ast rebuild"):
        Registry.open(place.location)
    report = Registry.rebuild(place.location)
    assert (report.tasks, report.versions, report.skipped, report.backup) == (3, 4, (), None)
    with Registry.open(place.location) as again:
        after = again.tasks()
        assert [without_ids(task) for task in after] == [without_ids(task) for task in before]
        assert [task.id for task in after] == [task.id for task in before]
        assert [version.number for version in again.versions("c")] == [v.number for v in versions]
        assert again.verify() == [] and again.gc(dry_run=True).bytes == versions[0].adapter_bytes
        assert again.backbone is not None and again.backbone.background == b""
        assert again.set_backbone(backbone) == backbone == again.backbone
        assert again.commit("next", adapter(), new()).id > max(task.id for task in before)


def without_ids(task: TaskRecord) -> TaskRecord:
    return replace(task, version=replace(task.version, id=0))


@pytest.mark.slow
def test_rebuild_brings_back_how_versions_were_trained(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    training = {"epochs": 20, "rates": [1e-3, 1e-5], "stopped": None, "optimiser": {"name": "adamw"}}
    reg.commit("a", adapter(1), new(training=training))
    old = reg.commit("b", adapter(2), new()).version
    place.lose()
    # As a cl-ast that did not keep it wrote the other file.
    words = json.dumps(
        {k: v for k, v in header.read(place.file(old).read_bytes()).description().items() if k != "training"}
    )
    data = adapter_with(words)
    place.file(old).unlink()
    (place.adapters / f"{digest(data)}.safetensors").write_bytes(data)
    Registry.rebuild(place.location)
    with Registry.open(place.location) as again:
        assert {task.name: task.version.training for task in again.tasks()} == {"a": training, "b": {}}
        assert again.verify() == []


def adapter_with(words: str) -> bytes:
    encoded = json.dumps({"__metadata__": {"cl_ast": words}}).encode()
    return len(encoded).to_bytes(8, "little") + encoded


def test_rebuild_leaves_out_what_is_damaged_and_keeps_the_former_database(
    folder: Place, local: Registry, adapter: Make, new: New
) -> None:
    reg, home = local, folder.adapters.parent
    bad = reg.commit("bad", adapter(1), new())
    reg.commit("good", adapter(2), new())
    flip(folder.file(bad.version), -1)
    shutil.copy(folder.file(reg.task("good").version), folder.adapters / "copy.safetensors")
    (home / "registry.db").write_bytes(b"this was a database once " * 100)
    with pytest.raises(CorruptRegistryError, match="cl-ast rebuild"):
        Registry.open(home)
    report = Registry.rebuild(home)
    assert report.tasks == 1 and len(report.skipped) == 2
    assert report.backup is not None and Path(report.backup).read_bytes().startswith(b"this was")
    with Registry.open(home) as again:
        assert [task.name for task in again.tasks()] == ["good"] and again.verify() == []


@pytest.mark.slow
@pytest.mark.nothing_made
def test_rebuild_needs_something_to_rebuild_from(place: Place) -> None:
    place.adapters.mkdir(parents=True)
    with pytest.raises(RegistryError, match="nothing to restore"):
        Registry.rebuild(place.location)
    with pytest.raises(RegistryError, match="no registry"):
        Registry.open(place.location, create=False)


@pytest.mark.slow
def test_rebuild_keeps_the_former_database_and_its_ids(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    kept = reg.commit("a", adapter(1), new(), [Accuracy("a", "oracle", 0.5, 4)])
    report = Registry.rebuild(place.location)
    assert report.backup is not None and reg.tasks() == [kept] and place.measured() == []
    assert reg.commit("b", adapter(2), new()).id > kept.id and reg.verify() == []


@pytest.mark.slow
def test_rebuild_takes_the_newest_of_two_files_for_one_place(
    tmp_path: Path, place: Place, reg: Registry, adapter: Make, new: New, backbone: BackboneRecord
) -> None:
    # As after a crash: a task was removed but its file stayed, and the name was used again.
    left = reg.commit("a", adapter(1), new())
    data = reg.read_adapter(left.version)
    reg.remove("a")
    kept = reg.commit("a", adapter(2), new())
    place.file(left.version).write_bytes(data)
    os.utime(place.file(left.version), (1, 1))
    with Registry.open(tmp_path / "other") as other:
        other.set_backbone(BackboneRecord("ast-base", "0" * 64, 1, 1))
        foreign = other.commit("z", adapter(3), new())
        shutil.copy(places.folder(tmp_path / "other").file(foreign.version), place.adapters)
    reg.commit("b", adapter(4), new())
    report = Registry.rebuild(place.location)
    assert (report.tasks, len(report.skipped)) == (2, 2)
    with Registry.open(place.location) as again:
        assert again.task("a").version.adapter_sha256 == kept.version.adapter_sha256
        assert again.task("a").id == kept.id


@pytest.mark.slow
def test_verify_sees_through_a_changed_row(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(1), new())
    place.execute("UPDATE tasks SET name = 'other', key = 'other'")
    (problem,) = reg.verify()
    assert problem.task == "other" and "another task" in problem.what
