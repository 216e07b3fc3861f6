"""Several people at one registry: who may only read while its owner writes, who shares a cache, and rights of files."""

import itertools
import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from forking import as_nobody, in_forks
from places import Place

from cl_ast.errors import RegistryError
from registry import NewVersion, Registry
from registry.adapter_files import AdapterFiles, name_of
from registry.file_stores import LocalFolder
from registry.sqlite_connections import connect_to_read

Make = Callable[..., bytes]
New = Callable[..., NewVersion]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights of another kind")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs a second user")
def test_who_may_only_read_sees_whole_states_while_the_owner_writes(
    local: Registry, adapter: Make, new: New, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("public") / "reg"
    shutil.copytree(local.place, home)
    for path in home.parents:
        if path.stat().st_mode & 0o005 != 0o005:
            path.chmod(path.stat().st_mode | 0o005)
    done = home.parent / "done"

    def write() -> None:
        with Registry.open(home) as owner:
            for number in itertools.count():
                owner.commit(f"t{number}", adapter(number % 250, floats=1 + number), new(labels=("a", "b" * 900)))
                if done.exists():
                    break

    def read() -> None:
        try:
            as_nobody()
            reg, seen = Registry.open(home), list[int]()
            while len(seen) < 50 or len(set(seen)) < 10:
                assert not reg.writable
                seen.append(len(reg.tasks()))
                with Registry.open(home) as again:
                    assert len(again.overview().tasks) >= seen[-1] and again._database.damage() == []
            assert seen == sorted(seen), seen
        finally:
            done.touch()

    done.parent.chmod(0o777)
    assert in_forks(write, read) == [0, 0]


def test_a_file_that_nobody_has_open_is_read_as_it_is_at_one_moment(
    folder: Place, local: Registry, adapter: Make, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that falls into the reading, log and all, is noticed: the file is read once more."""
    path = folder.adapters.parent / "registry.db"
    read, comes = Path.read_bytes, [3, 2, 1]

    def interrupted(self: Path) -> bytes:
        data = read(self)
        if self == path and comes:
            local.commit(f"t{comes.pop()}", adapter(len(comes)), new())
        return data

    monkeypatch.setattr(Path, "read_bytes", interrupted)
    monkeypatch.setattr("registry.sqlite_connections.connect", lambda path, access: _Refusing())
    connection = connect_to_read(path)
    assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (3,) and comes == []
    connection.close()


class _Refusing:
    """A connection as SQLite gives it to one who may not write beside a file without a log."""

    def execute(self, _: str) -> object:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    def close(self) -> None:
        pass


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o666])
def test_rights_outlive_rebuild_and_upgrade(
    folder: Place, local: Registry, adapter: Make, new: New, mode: int, tmp_path: Path
) -> None:
    home = folder.adapters.parent
    group = 12_345 if os.geteuid() == 0 else os.getegid()
    local.commit("a", adapter(), new())
    (home / "registry.db").chmod(mode)
    os.chown(home / "registry.db", -1, group)
    Registry.rebuild(home)
    found = [path.stat() for path in home.glob("registry.db*")]
    assert len(found) == 2
    assert [(stat.S_IMODE(one.st_mode), one.st_gid) for one in found] == [(mode, group)] * 2
    old = tmp_path / "old"
    old.mkdir()
    with closing(sqlite3.connect(old / "registry.db")) as connection:
        connection.executescript((Path(__file__).parent / "data" / "schema1.sql").read_text())
        connection.execute("PRAGMA journal_mode = WAL")
    (old / "registry.db").chmod(mode)
    os.chown(old / "registry.db", -1, group)
    Registry.open(old).close()
    found = [path.stat() for path in old.glob("registry.db*")]
    assert len(found) == 2
    assert [(stat.S_IMODE(one.st_mode), one.st_gid) for one in found] == [(mode, group)] * 2


def _unreadable(path: Path) -> None:
    path.write_bytes(b"of a colleague")
    path.chmod(0)


@pytest.mark.parametrize(
    "odd",
    [
        Path.mkdir, os.mkfifo, _unreadable, lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
    ],
)  # fmt: skip
def test_what_cannot_be_read_in_a_shared_cache_is_a_miss(tmp_path: Path, odd: Callable[[Path], None]) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    files = AdapterFiles(LocalFolder(tmp_path / "store"), LocalFolder(cache))
    files.store.prepare()
    sha256 = files.write(b"content")
    (cache / name_of(sha256)).unlink()
    odd(cache / name_of(sha256))
    assert files.read(sha256) == b"content"
    with pytest.raises(RegistryError, match="regular file"):
        LocalFolder(Path("/dev")).read("zero")
