"""What is dropped lies in the trash for a while, and what the database does not know is not dropped at all."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from places import Place

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import Accuracy, NewVersion, Registry, header, trash
from registry.adapter_files import digest
from registry.file_stores import LocalFolder, Store
from registry.remote_store import RemoteStore

Make = Callable[..., bytes]
New = Callable[..., NewVersion]


def age(place: Place, days: int) -> None:
    """Make everything in the trash that many days old: its day stands in its name."""
    day = datetime.now(UTC) - timedelta(days)
    for path in place.trash():
        path.rename(path.with_name(f"{day:%Y%m%d}{path.name[8:]}"))


@pytest.mark.slow
def test_what_is_dropped_lies_in_the_trash_as_it_was(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    gone = {}
    for name in ("removed", "renamed", "replaced"):
        task = reg.commit(name, adapter(1), new())
        gone[task.version.adapter_sha256] = reg.read_adapter(task.version)
    reg.commit("replaced", adapter(2), new(), replace=True)
    reg.remove("removed")
    reg.rename("renamed", "other")
    reg.gc()
    today = f"{datetime.now(UTC):%Y%m%d}"
    assert {path.name: path.read_bytes() for path in place.trash()} == {
        f"{today}-{sha256}.safetensors": data for sha256, data in gone.items()
    }
    assert all(trash.read(LocalFolder(place.adapters), sha256) == data for sha256, data in gone.items())
    assert reg.verify() == [] and reg.overview().storage.all_bytes < sum(map(len, gone.values())) * 2


@pytest.mark.slow
@pytest.mark.parametrize(("days", "left"), [(30, 1), (31, 0)])
def test_gc_deletes_what_was_in_the_trash_for_thirty_days(
    place: Place, reg: Registry, adapter: Make, new: New, days: int, left: int
) -> None:
    old = reg.commit("old", adapter(1), new()).version
    reg.remove("old")
    (path,) = place.trash()
    os.utime(path, (1, 1))  # a copy of the folder has other dates
    age(place, days)
    (path.parent / "mine.safetensors").write_text("the user's own")
    would = reg.gc(dry_run=True).emptied
    assert len(would) == 1 - left and len(place.trash()) == 2
    report = reg.gc()
    assert report.emptied == would and len(place.trash()) == left + 1 and report.dropped == ()
    assert left or would[0].bytes == old.adapter_bytes


@pytest.mark.slow
def test_the_trash_is_emptied_when_asked_but_for_what_comes_now(
    place: Place, reg: Registry, adapter: Make, new: New
) -> None:
    reg.commit("gone", adapter(1), new())
    reg.remove("gone")
    former = reg.commit("a", adapter(2), new()).version
    reg.commit("a", adapter(3), new(), replace=True)
    assert len(reg.gc(dry_run=True, empty_trash=True).emptied) == 1 == len(place.trash())
    report = reg.gc(empty_trash=True)
    assert (len(report.dropped), len(report.emptied)) == (1, 1)
    assert [path.name[9:73] for path in place.trash()] == [former.adapter_sha256]
    assert len(reg.gc(empty_trash=True).emptied) == 1 and place.trash() == []


def older(folder: Place, adapter: Make, new: New, local: Registry) -> Registry:
    """A registry whose database was restored from a backup: tasks were added, replaced and renamed since."""
    local.commit("kept", adapter(1), new())
    local.commit("called", adapter(2), new())
    home = folder.adapters.parent
    with (
        closing(sqlite3.connect(home / "registry.db")) as source,
        closing(sqlite3.connect(home.parent / "backup.db")) as target,
    ):
        source.backup(target)
    local.commit("newer", adapter(3), new())
    local.commit("kept", adapter(4), new(), replace=True)
    folder.lose()
    shutil.copy(home.parent / "backup.db", home / "registry.db")
    return Registry.open(folder.location)


def test_a_restored_older_database_loses_no_newer_task(folder: Place, local: Registry, adapter: Make, new: New) -> None:
    with older(folder, adapter, new, local) as reg:
        said = sorted(problem.what for problem in reg.verify())
        assert len(said) == 2 and "task kept, version 2" in said[0] and "task newer, version 1" in said[1]
        assert all("cl-ast rebuild" in what and "cl-ast gc" in what for what in said)
        before = folder.files()
        for report in (reg.gc(dry_run=True), reg.gc()):
            assert report.dropped == () and {one.task for one in report.unnamed} == {"kept", "newer"}
        assert folder.files() == before
        # What is learned now gets the same id and number as a task that the database has forgotten.
        reg.commit("another", adapter(5), new())
        reg.commit("kept", adapter(6), new(), replace=True)
        assert len(reg.gc().unnamed) == 2
    assert Registry.rebuild(folder.location).tasks == 3
    with Registry.open(folder.location) as again:
        assert {"kept", "called"} < {task.name for task in again.tasks()} and len(folder.files()) == 5


def test_rebuild_brings_back_what_a_restored_database_does_not_know(
    folder: Place, local: Registry, adapter: Make, new: New
) -> None:
    with older(folder, adapter, new, local) as reg:
        reg.gc()
    Registry.rebuild(folder.location)
    with Registry.open(folder.location) as again:
        numbers = {task.name: task.version.number for task in again.tasks()}
        assert numbers == {"kept": 2, "called": 1, "newer": 1} and again.verify() == []
        assert [one.bytes for one in again.gc().dropped] == [again.versions("kept")[0].adapter_bytes]


@pytest.mark.slow
def test_an_unknown_adapter_goes_when_it_is_named(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    data = reg.read_adapter(reg.commit("Birds", adapter(1), new()).version)
    strange = [header.described(data, {"name": name, "task_id": 77}) for name in ("Owls", "rain")]
    nameless = adapter(3)
    for one in (*strange, nameless):
        (place.adapters / f"{digest(one)}.safetensors").write_bytes(one)
    assert {one.task for one in reg.gc().unnamed} == {"Owls", "rain", None}
    for wrong in ("birds", "other", digest(strange[0])[:11], ""):
        with pytest.raises(RegistryError, match="does not know"):
            reg.gc([wrong, "rain"])
    assert len(place.files()) == 4
    assert len(reg.gc(["OWLS"], dry_run=True).dropped) == 1 and len(place.files()) == 4
    report = reg.gc(["OWLS", digest(nameless)[:12]])
    assert len(report.dropped) == 2 and len(place.trash()) == 2 and len(place.files()) == 2
    assert str(reg.undo()).endswith("the files are where they were") and len(place.files()) == 4
    assert len(reg.verify()) == 3
    reg.undo()
    assert len(place.files()) == 2 and [task.name for task in reg.tasks()] == ["Birds"]


def test_a_damaged_leftover_goes_to_the_trash(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    task = reg.commit("a", adapter(1), new())
    (place.adapters / f"{'0' * 64}.safetensors").write_bytes(b"half")
    assert reg.verify() == [], "nothing is lost with it"
    assert [one.why for one in reg.gc().dropped] == ["it is damaged, and nothing names it"]
    assert place.files() == [place.file(task.version)] and place.trash()[0].read_bytes() == b"half"


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_file_where_the_trash_would_be_stops_nothing(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(1), new())
    (place.adapters / "trash").write_text("mine")
    reg.remove("a")
    assert reg.tasks() == [] and len(reg.gc().dropped) == 1 and len(place.files()) == 1
    with pytest.raises(RegistryError):
        reg.gc(["a"])


def test_the_trash_of_any_store(tmp_path: Path) -> None:
    """fsspec's own folder stands for the stores that have folders, its memory for those that have none."""
    (tmp_path / "files").mkdir()
    stores: list[Store] = [RemoteStore(f"file://{tmp_path}/files"), RemoteStore(f"memory://{tmp_path.name}")]
    for store in (*stores, LocalFolder(tmp_path / "folder")):
        sha256 = digest(b"content")
        name = f"{sha256}.safetensors"
        store.prepare()
        store.write(name, b"content")
        store.move([(name, trash.name_today(sha256)), ("not there", "trash/other")])
        assert store.files() == [] and store.read(name) is None and trash.read(store, sha256) == b"content"
        (lying,) = trash.listed(store)
        assert (lying.sha256, lying.bytes, lying.expired) == (sha256, 7, False)
        assert trash.restore(store, [sha256, "0" * 64]) == ["0" * 64]
        assert store.read(name) == b"content" and trash.listed(store) == []
        store.move([(name, trash.name_today(sha256))])
        trash.delete(store, [lying.name, "../folder", f"trash/../{name}"])
        assert trash.listed(store) == [] and store.files("trash") == []


def test_gc_says_nothing_while_a_row_cannot_be_read(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(1), new(), [Accuracy("a", "oracle", 0.5, 4)])
    place.execute("UPDATE versions SET method = ''")
    with pytest.raises(CorruptRegistryError, match="nothing was deleted"):
        reg.gc(empty_trash=True)
