"""Where a registry in a folder may be, and what is said where it cannot be; `test_postgres` has the servers."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from forking import as_nobody, in_forks

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import NewVersion, Registry
from registry.schema import VERSION as SCHEMA_VERSION

Make = Callable[..., bytes]
New = Callable[..., NewVersion]
Python = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.parametrize("name", ["reg", "with space", "ünï?#%41"])
def test_a_folder_is_made_on_first_use(tmp_path: Path, name: str) -> None:
    place = tmp_path / "deep" / name
    with Registry.open(place) as made:
        assert made.tasks() == [] and made.writable and made.place == str(place)
    assert sorted(path.name for path in place.iterdir()) == ["adapters", "registry.db"]
    with Registry.open(str(place), create=False) as again:
        assert again.tasks() == []


def test_a_copy_may_lack_the_empty_folder(local: Registry, adapter: Make, new: New) -> None:
    shutil.rmtree(Path(local.place) / "adapters")
    with Registry.open(local.place) as again:
        assert "registry-id" in str(again.verify()[0]) and again.overview().storage.all_bytes == 0
        assert again.read_adapter(again.commit("a", adapter(), new()).version) and again.verify() == []


def test_a_relative_place_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Registry.open("reg")
    monkeypatch.chdir("/")
    assert made.tasks() == [] and made.place == str(tmp_path / "reg")


def test_a_url_names_the_database(local: Registry, adapter: Make, new: New) -> None:
    local.commit("a", adapter(), new())
    with Registry.open(f"sqlite:///{local.place}/registry.db") as same:
        assert same.tasks() == local.tasks() and same.verify() == []


@pytest.mark.parametrize(
    "url", ["mysql://me:secret@host/db", "sqlite://", "s3://bucket/x", "://", "sqlite:///x/registry.db?wal=no"]
)
def test_other_urls_are_no_registries(url: str) -> None:
    with pytest.raises(RegistryError, match="sqlite:///") as caught:
        Registry.open(url)
    assert "secret" not in str(caught.value)


def test_nothing_is_made_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no registry"):
        Registry.open(tmp_path / "reg", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RegistryError, match="file"):
            Registry.open(place)


def test_another_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = (tmp_path / "registry.db").read_bytes()
    with pytest.raises(RegistryError, match="something else"):
        Registry.open(tmp_path)
    assert (tmp_path / "registry.db").read_bytes() == before


def test_a_newer_schema_is_refused(local: Registry) -> None:
    with sqlite3.connect(Path(local.place) / "registry.db") as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(RegistryError, match=rf"newer cl-ast \(schema {SCHEMA_VERSION + 1};"):
        Registry.open(local.place)


def test_a_damaged_database_says_how_to_restore_it(local: Registry, adapter: Make, new: New) -> None:
    local.commit("a", adapter(), new())
    path = Path(local.place) / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'tasks'").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[4096 * (page - 1) : 4096 * page] = bytes(4096)
    path.write_bytes(data)
    with Registry.open(local.place) as opened:
        with pytest.raises(CorruptRegistryError, match="cl-ast rebuild"):
            opened.tasks()
        assert "damaged" in opened.verify()[0].what
    path.write_bytes(b"")
    with pytest.raises(CorruptRegistryError, match="cl-ast rebuild"):
        Registry.open(local.place)


def test_a_database_that_goes_away_is_not_made_anew(local: Registry) -> None:
    for path in Path(local.place).glob("registry.db*"):
        path.unlink()
    with pytest.raises(RegistryError, match="cannot open"):
        local.tasks()
    assert not (Path(local.place) / "registry.db").exists()


def test_what_a_killed_first_use_left_is_finished(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"")
    with Registry.open(tmp_path) as made:
        assert made.tasks() == [] and made.verify() == []


def test_a_writer_waits_for_another_and_readers_do_not(
    local: Registry, adapter: Make, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = local.commit("a", adapter(), new())
    monkeypatch.setattr("registry.sqlite_connections.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(Path(local.place) / "registry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert local.tasks() == [task] and local.read_adapter(task.version)
    with pytest.raises(RegistryError, match="busy") as caught:
        local.commit("b", adapter(), new())
    assert "locked" not in str(caught.value)
    other.execute("ROLLBACK")
    other.close()
    assert local.commit("b", adapter(), new()).id == 2 and local.gc().dropped == ()


@pytest.fixture
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that another user may reach: pytest's own are private."""
    if os.geteuid() != 0:
        return tmp_path_factory.mktemp("public")
    place = tmp_path_factory.mktemp("public")
    for folder in (place, *place.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
    return place


@pytest.mark.skipif(sys.platform == "win32", reason="rights of another kind")
def test_a_read_only_folder_can_be_read(public: Path, local: Registry, adapter: Make, new: New) -> None:
    def read() -> None:
        if os.geteuid() == 0:
            as_nobody()
        with Registry.open(place) as reg:
            (task,) = reg.tasks()
            assert reg.read_adapter(task.version) and reg.verify() == [] and not reg.writable
            assert reg.overview().storage.adapter_bytes == task.version.adapter_bytes
            assert reg.gc(dry_run=True).dropped == ()
            for change in (
                lambda: reg.commit("b", adapter(), new()), lambda: reg.remove("a"), lambda: reg.rename("a", "b"),
            ):  # fmt: skip
                with pytest.raises(RegistryError, match="cannot be written") as caught:
                    change()
                assert str(place) in str(caught.value)
        with pytest.raises(RegistryError, match="may not"):
            Registry.open(place / "new")

    local.commit("a", adapter(), new())
    place = public / "reg"
    shutil.copytree(local.place, place)
    for path in [*place.rglob("*"), place]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert in_forks(read) == [0]
    finally:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o755)


def test_importing_the_registry_imports_no_torch(python: Python) -> None:
    process = python("import sys, registry; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])")
    output, errors = process.communicate(timeout=60)
    assert output.strip() == "[]", errors
