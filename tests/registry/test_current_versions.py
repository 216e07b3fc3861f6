"""The current versions are known without a query as long as nothing changes, and never after that."""

import os
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from forking import in_forks
from places import Place

from cl_ast.errors import TaskNotFoundError
from registry import NewVersion, Registry, sqlite_database, sqlite_stamp
from registry.sqlite_connections import Access, connect

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no time of a change that is not set")
SETTLED = 0.02  # seconds; the file systems of these tests count by a few milliseconds


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_stamp, "SETTLED_SECONDS", SETTLED)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Has a line for each connection to a database."""
    found: list[str] = []

    def counted(path: Path, access: Access) -> sqlite3.Connection:
        found.append(access)
        return connect(path, access)

    monkeypatch.setattr(sqlite_database, "connect", counted)
    return found


def settle() -> None:
    time.sleep(2 * SETTLED)


def test_nothing_is_queried_while_nothing_changes(
    local: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion], connected: list[str]
) -> None:
    for name in ("dogs", "birds"):
        local.commit(name, adapter(1), new())
    settle()
    first = local.current(["dogs"])
    connected.clear()
    assert local.current(["dogs"]) == first == {"dogs": local.task("dogs").version}
    assert connected == ["rw"]  # of `task`
    both = local.current(["birds", "dogs"])
    assert list(both) == ["birds", "dogs"] and len(connected) == 2
    assert local.current(["dogs"]) == first and local.current(["birds"]) == {"birds": both["birds"]}
    assert len(connected) == 2
    assert local.current(["DOGS"]) == {"DOGS": first["dogs"]} and len(connected) == 3
    with pytest.raises(TaskNotFoundError):
        local.current(["dogs", "cats"])


def test_a_change_of_just_now_is_queried_again(
    local: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_stamp, "SETTLED_SECONDS", 60.0)
    stamps = sqlite_stamp.Stamps(Path(local.place) / "registry.db")
    local.commit("dogs", adapter(1), new())
    assert stamps.now() is None  # the next change may come at the same time, as the file system counts
    monkeypatch.setattr(sqlite_stamp, "SETTLED_SECONDS", SETTLED)
    settle()
    assert stamps.now() is not None


@pytest.mark.parametrize("change", ["replace", "remove", "rename", "rebuild", "restore", "other file"])
def test_a_change_by_another_is_seen_at_once(
    folder: Place, local: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion], change: str
) -> None:
    assert isinstance(folder.location, Path)
    database = folder.location / "registry.db"
    local.commit("dogs", adapter(1), new())
    kept = database.with_name("kept")
    shutil.copy2(database, kept)
    local.commit("dogs", adapter(2), new(), replace=True)
    local.commit("birds", adapter(3), new())
    settle()
    assert local.current(["dogs"])["dogs"].number == 2
    assert local.current(["dogs", "birds"]).keys() == {"dogs", "birds"}
    with Registry.open(folder.location) as other:
        if change == "replace":
            other.commit("dogs", adapter(4), new(), replace=True)
        elif change == "remove":
            other.remove("dogs")
        elif change == "rename":
            other.rename("dogs", "hounds")
        elif change == "rebuild":
            folder.lose()
            Registry.rebuild(folder.location)
        elif change == "restore":
            os.replace(kept, database)  # noqa: PTH105
        else:
            shutil.copy2(kept, database)  # with its times
    settle()
    for _ in range(3):
        with Registry.open(folder.location) as fresh:
            try:
                expected = fresh.task("dogs").version
            except TaskNotFoundError:
                with pytest.raises(TaskNotFoundError):
                    local.current(["dogs"])
            else:
                assert local.current(["dogs"])["dogs"] == expected


def test_a_database_that_is_open_elsewhere_is_queried(
    folder: Place, local: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion], connected: list[str]
) -> None:
    assert isinstance(folder.location, Path)
    local.commit("dogs", adapter(1), new())
    with closing(sqlite3.connect(folder.location / "registry.db", isolation_level=None)) as other:
        other.execute("SELECT count(*) FROM tasks").fetchone()
        settle()
        connected.clear()
        for _ in range(3):
            assert local.current(["dogs"])["dogs"].number == 1
        assert len(connected) == 3
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE versions SET number = 7")
        settle()
        assert local.current(["dogs"])["dogs"].number == 1
        other.execute("COMMIT")  # of which the log has had all but the last page for a while
        settle()
        assert local.current(["dogs"])["dogs"].number == 7


def test_what_another_process_has_committed_is_current(
    folder: Place, local: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion]
) -> None:
    local.commit("dogs", adapter(0), new())
    told, telling = os.pipe()
    pauses = random.Random(0)

    def write() -> None:
        with Registry.open(folder.location) as own:
            for number in range(2, 60):
                own.commit("dogs", adapter(number), new(), replace=True)
                os.write(telling, bytes([number]))
                time.sleep(pauses.choice([0, 0, SETTLED / 2, 2 * SETTLED]))
        os.write(telling, b"\0")

    def read() -> None:
        known, over = 1, False
        while not over:
            some = os.read(told, 64)
            over, known = some.endswith(b"\0"), max(known, *some)
            for _ in range(20):  # until the database has settled, perhaps
                assert local.current(["dogs"])["dogs"].number >= known
                time.sleep(SETTLED / 10)

    assert in_forks(write, read) == [0, 0]
    assert local.current(["dogs"])["dogs"].number == 59
