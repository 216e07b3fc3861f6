"""A backup: what it holds, where it may go, that a killed one is none, and that it can be put back."""

import errno
import json
import os
import shutil
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from forking import as_nobody, in_forks
from places import Place, matrix

from cl_ast.errors import RegistryError
from registry import Accuracy, BackboneRecord, NewVersion, Registry, crash_points
from registry.adapter_files import name_of

Make = Callable[..., bytes]
New = Callable[..., NewVersion]


def fill(reg: Registry, adapter: Make, new: New) -> None:
    """Two tasks, one with two versions and rolled back, measurements, and an id that was used and is no more."""
    reg.commit("a", adapter(1), new(), [Accuracy("a", "oracle", 0.5, 4), Accuracy("a", "auto", 0.5, 4, {"a": 4})])
    reg.commit("b", adapter(2), new(labels=("ü", "x")), [Accuracy("b", "auto", 0.25, 4, {"a": 1, "b": 3})])
    reg.commit("a", adapter(3), new(training={"rates": [1e-3, 1 / 3], "stopped": None}), replace=True)
    reg.rollback("a")
    reg.commit("gone", adapter(4), new())
    reg.remove("gone")


@pytest.fixture
def filled(reg: Registry, adapter: Make, new: New) -> Registry:
    fill(reg, adapter, new)
    return reg


@pytest.fixture
def home(local: Registry, adapter: Make, new: New) -> Path:
    """A registry in a folder, filled."""
    fill(local, adapter, new)
    return Path(local.place)


def content(reg: Registry) -> tuple[object, list[bytes]]:
    """All that a registry says, with the bytes of its files."""
    overview = reg.overview()
    versions = [version for task in reg.tasks() for version in reg.versions(task.name)]
    said = (reg.backbone, reg.tasks(), versions, overview.accuracies, overview.routed, matrix(reg, "auto"))
    return said, [reg.read_adapter(version) for version in versions]


def database_of(folder: Path) -> Path:
    return folder / "registry.db"


@pytest.mark.slow
def test_a_backup_is_a_registry_with_the_same_content(
    filled: Registry, place: Place, tmp_path: Path, adapter: Make, new: New
) -> None:
    report = filled.backup(tmp_path / "copy")
    assert (report.tasks, report.versions, report.problems, report.former) == (2, 3, (), None)
    with Registry.open(tmp_path / "copy", create=False) as copy:
        assert content(copy) == content(filled) and copy.verify() == [] and copy.gc(dry_run=True).dropped != ()
        assert report.bytes == sum(len(data) for data in content(copy)[1])
        # Ids of what was removed before are given to nothing else.
        later, here = copy.commit("new", adapter(9), new()), filled.commit("new", adapter(9), new())
        assert (later.id, later.version.id) == (here.id, here.version.id)
    for path in (tmp_path / "copy" / "adapters").iterdir():
        assert path.stat().st_nlink == 1 and not path.is_symlink()
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["adapters", "backup.json", "registry.db"]


@pytest.mark.slow
def test_it_is_put_back_after_the_original_is_gone(
    filled: Registry, place: Place, tmp_path: Path, adapter: Make, new: New
) -> None:
    before, wanted = content(filled), filled.commit("probe", adapter(8), new()).id
    filled.remove("probe")
    filled.backup(tmp_path / "copy")
    place.lose()
    shutil.rmtree(place.adapters)
    if isinstance(place.location, Path):
        shutil.rmtree(place.location)
    with Registry.open(tmp_path / "copy", create=False) as copy:
        report = copy.backup(place.location)
        assert report.problems == ()
        with pytest.raises(RegistryError, match=r"there is a registry at|was changed|backup of another|no backup"):
            Registry.open(place.location).commit("c", adapter(), new())
            copy.backup(place.location)
    with Registry.open(place.location, create=False) as again:
        again.remove("c")
        assert content(again) == before and again.verify() == []
        assert again.commit("next", adapter(7), new()).id > wanted


def test_a_second_backup_copies_what_is_new_and_repairs_what_is_damaged(
    home: Path, local: Registry, tmp_path: Path, adapter: Make, new: New
) -> None:
    copy = tmp_path / "copy"
    local.backup(copy)
    for path in (copy / "adapters").iterdir():
        os.utime(path, (1, 1))
    damaged, linked = (copy / "adapters" / name_of(one.adapter_sha256) for one in local.versions("a"))
    damaged.write_bytes(b"flipped")
    linked.unlink()
    linked.symlink_to(home / "adapters" / linked.name)
    with Registry.open(copy) as reading:  # reading changes nothing
        assert len(reading.tasks()) == 2
    local.commit("c", adapter(5), new())
    local.remove("b")
    report = local.backup(copy)
    assert report.problems == () and report.former is None
    with Registry.open(copy) as again:
        assert content(again) == content(local) and again.verify() == []
    files = list((copy / "adapters").glob("*.safetensors"))
    assert len(files) == 3 and len(list((copy / "adapters" / "trash").iterdir())) == 1  # that of b
    assert sum(path.stat().st_mtime > 1 for path in files) == 3 and not linked.is_symlink()
    assert sorted(path.name for path in copy.iterdir()) == ["adapters", "backup.json", "registry.db"]


@pytest.mark.slow
def test_a_place_that_is_no_former_backup_is_refused(
    home: Path, local: Registry, tmp_path: Path, adapter: Make, new: New, backbone: BackboneRecord
) -> None:
    def tree() -> dict[str, bytes]:
        found = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "registry.db-shm"]
        return {str(path): path.read_bytes() for path in found}

    copy, used, other = tmp_path / "copy", tmp_path / "used", tmp_path / "other"
    local.backup(copy)
    local.backup(used)
    with Registry.open(used) as mine:
        mine.commit("mine", adapter(6), new())
    with Registry.open(other) as another:
        another.set_backbone(backbone)
        another.commit("theirs", adapter(7), new())
        another.backup(tmp_path / "of-other")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    (tmp_path / "looped").symlink_to(tmp_path / "looped")
    shutil.copytree(copy, tmp_path / "odd")
    shutil.rmtree(tmp_path / "odd" / "adapters")
    (tmp_path / "odd" / "adapters").symlink_to(tmp_path / "empty")
    before = tree()
    for dest, why in {
        used: "was changed",
        other: "a registry and no backup",
        tmp_path / "of-other": "another registry",
        tmp_path / "notes": "mine.txt",
        tmp_path / "notes" / "mine.txt": "is a file",
        tmp_path / "link": "is a link",
        tmp_path / "looped": "is a link",
        tmp_path / "odd": "no folder",
        tmp_path / "none" / "copy": "no folder",
        home: "in the registry",
        home / "backup": "in the registry",
        home / "adapters": "in the registry",
        home.parent: "empty folder",
    }.items():
        with pytest.raises(RegistryError, match=why):
            local.backup(dest)
        assert tree() == before
    url = f"sqlite:///{tmp_path}/new.db?adapters={home}/adapters"
    for location in (url, f"sqlite:///{other}/registry.db", f"sqlite:///{tmp_path}/empty/registry.db?adapters={other}"):
        (other / "x.safetensors").touch()
        with pytest.raises(RegistryError, match=r"in the registry|there is a registry|belong to another"):
            local.backup(location)
    assert not (tmp_path / "new.db").exists() and list((tmp_path / "empty").iterdir()) == []


@pytest.mark.slow
def test_what_is_damaged_is_said_and_the_rest_is_copied(
    filled: Registry, place: Place, tmp_path: Path, adapter: Make, new: New
) -> None:
    filled.commit("c", adapter(5), new())
    place.file(filled.task("b").version).write_bytes(b"flipped")
    place.file(filled.task("c").version).unlink()
    report = filled.backup(tmp_path / "copy")
    assert [problem.task for problem in report.problems] == ["b", "c"]
    assert "SHA-256 differs" in str(report.problems[0]) and "missing" in str(report.problems[1])
    with Registry.open(tmp_path / "copy") as copy:
        assert [task.name for task in copy.tasks()] == [task.name for task in filled.tasks()]
        assert copy.read_adapter(copy.task("a").version) == filled.read_adapter(filled.task("a").version)
        assert {problem.task for problem in copy.verify()} == {"b", "c"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET adapter_sha256 = '../../victim' || substr(adapter_sha256, 13) WHERE task_id = 2",
        "UPDATE versions SET labels = 'nonsense' WHERE task_id = 2",
        "UPDATE versions SET task_id = 77 WHERE task_id = 2",
        "UPDATE versions SET method = CAST(x'ff00fe' AS TEXT) WHERE task_id = 2",
        "UPDATE tasks SET name = '../b', key = '../b' WHERE id = 2",
        "UPDATE tasks SET current_version_id = 3 WHERE id = 2",
        "UPDATE tasks SET created = '9999-12-31 23:59:59.999999' WHERE id = 2",
        "UPDATE versions SET id = 9223372036854775807 WHERE task_id = 2",
        "UPDATE accuracies SET version_id = 99, accuracy = 7, routed = '[]' WHERE version_id = 2",
        "UPDATE accuracies SET routed = '{\"1\": -1}' WHERE version_id = 2; DELETE FROM tasks WHERE id = 2",
        "INSERT INTO sqlite_sequence VALUES ('x''); DROP TABLE tasks; --', 7), ('tasks', 99)",
    ],
)  # fmt: skip
def test_rows_that_cannot_be_right_are_left_out(home: Path, tmp_path: Path, statement: str) -> None:
    with closing(sqlite3.connect(database_of(home), isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.executescript(statement)
    with Registry.open(home) as reg:
        report = reg.backup(tmp_path / "copy")
        readable = [task.name for task in reg.tasks()]
    hostile = "sqlite_sequence" not in statement
    assert bool(report.problems) == hostile and "a" in readable
    with Registry.open(tmp_path / "copy") as copy:
        assert [task.name for task in copy.tasks()] == readable and copy.count() == len(readable)
        assert copy.verify() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "reg"]


def test_where_rows_are_left_out_the_former_database_is_kept(home: Path, local: Registry, tmp_path: Path) -> None:
    local.backup(tmp_path / "copy")
    former = database_of(tmp_path / "copy").read_bytes()
    with closing(sqlite3.connect(database_of(home), isolation_level=None)) as connection:
        connection.execute("UPDATE versions SET labels = 'nonsense' WHERE task_id = 2")
    report = local.backup(tmp_path / "copy")
    assert report.former is not None and Path(report.former).read_bytes() == former


def test_the_rights_are_those_of_the_original(home: Path, local: Registry, tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("rights of another kind")
    for path, mode in [(home, 0o2750), (database_of(home), 0o640), (home / "adapters", 0o755)]:
        path.chmod(mode)
    for path in (home / "adapters").iterdir():
        path.chmod(0o440)
    copy = tmp_path / "copy"
    local.backup(copy)
    found = [stat.S_IMODE(path.stat().st_mode) for path in (copy, database_of(copy), copy / "adapters")]
    assert found == [0o2750, 0o640, 0o755]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (copy / "adapters").iterdir()} == {0o640}


@pytest.fixture
def hook() -> Iterator[Callable[[Callable[[str], None]], None]]:
    def set_hook(new: Callable[[str], None]) -> None:
        crash_points.hook = new

    yield set_hook
    crash_points.hook = None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("former", [False, True])
def test_a_killed_backup_is_none_or_the_former_one_and_the_next_goes_on(
    home: Path, local: Registry, tmp_path: Path, former: bool, adapter: Make, new: New,
    hook: Callable[[Callable[[str], None]], None],
) -> None:  # fmt: skip
    before, steps = None, list[str]()
    start = tmp_path / "start"
    start.mkdir()
    if former:
        local.backup(start / "copy")
        before = content(Registry.open(start / "copy"))
        local.commit("c", adapter(5), new())
    hook(steps.append)
    shutil.copytree(start, tmp_path / "count")
    local.backup(tmp_path / "count" / "copy")
    wanted = content(local)
    assert len(steps) > 10
    for number in sorted({steps.index(step) for step in steps} | {len(steps) - 1}):
        for how in ("die", "fail")[: 1 + (number % 3 == 0)]:
            place = tmp_path / f"{number}{how}"
            shutil.copytree(start, place)
            child = os.fork() if how == "die" else -1
            if child == 0:
                hook(at(number, lambda: os._exit(9)))
                local.backup(place / "copy")
                os._exit(0)
            elif child > 0:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, steps[number]
            else:
                hook(at(number, full))
                if "commit" not in steps[number]:  # SQLite's own files
                    with pytest.raises(RegistryError):
                        local.backup(place / "copy")
            hook(lambda _: None)
            try:
                with Registry.open(place / "copy", create=False) as copy:
                    # Files that came already, or that are to go, are named by no row of this moment.
                    assert all("does not know" in str(problem) for problem in copy.verify()), steps[number]
                    assert content(copy) in (before, wanted), steps[number]
            except RegistryError as error:
                # All files are there, and the database is not, just before the last step.
                missing = "there is no registry" if number <= steps.index("rename files") else "is missing, but"
                assert missing in str(error) and not former, (steps[number], error)
            assert local.backup(place / "copy").problems == (), steps[number]
            with Registry.open(place / "copy") as copy:
                assert content(copy) == wanted and copy.verify() == []
            shutil.rmtree(place)


def at(number: int, act: Callable[[], None]) -> Callable[[str], None]:
    """Return a hook that does something at one step."""
    count = iter(range(1_000))
    return lambda _: act() if next(count) == number else None


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_somebody_removes_meanwhile_leads_to_new_rows(
    home: Path, local: Registry, tmp_path: Path, hook: Callable[[Callable[[str], None]], None]
) -> None:
    doomed = local.task("b").version

    removed: list[str] = []

    one_by_one = threading.RLock()  # files are copied by several threads: all wait until the task is removed

    def remove(step: str) -> None:
        with one_by_one:
            if step == "write file" and not removed:
                removed.append(step)
                with Registry.open(home) as colleague:
                    colleague.remove("b")

    (home / "adapters" / name_of(doomed.adapter_sha256)).rename(tmp_path / "aside")
    hook(remove)
    report = local.backup(tmp_path / "copy")
    assert (report.tasks, report.problems) == (1, ())
    with Registry.open(tmp_path / "copy") as copy:
        assert content(copy) == content(local)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs a second user")
def test_who_may_only_read_may_back_up(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    public = tmp_path_factory.mktemp("public")
    shutil.copytree(home, public / "reg")
    (public / "mine").mkdir()
    os.chown(public / "mine", 65534, 65534)
    for path in (public / "mine").parents:
        if path.stat().st_mode & 0o005 != 0o005:
            path.chmod(path.stat().st_mode | 0o005)

    def back_up() -> None:
        as_nobody()
        with Registry.open(public / "reg", create=False) as reg:
            assert not reg.writable
            assert reg.backup(public / "mine" / "copy").problems == ()

    assert in_forks(back_up) == [0]
    with Registry.open(public / "mine" / "copy") as copy, Registry.open(home) as reg:
        assert content(copy) == content(reg)


def test_a_bucket(tmp_path: Path, adapter: Make, new: New, backbone: BackboneRecord) -> None:
    """Both ways: a backup of a registry whose files are far away, and its return there."""
    pytest.importorskip("fsspec")
    first = f"sqlite:///{tmp_path}/one/registry.db?adapters=memory://{tmp_path.name}-one&cache={tmp_path}/cache"
    with Registry.open(first) as reg:
        reg.set_backbone(backbone)
        fill(reg, adapter, new)
        assert reg.backup(tmp_path / "copy").problems == ()
        second = f"sqlite:///{tmp_path}/two/registry.db?adapters=memory://{tmp_path.name}-two&cache={tmp_path}/cache"
        with Registry.open(tmp_path / "copy", create=False) as copy:
            assert copy.backup(second).problems == ()
        with Registry.open(second, create=False) as again:
            assert content(again) == content(reg) and again.verify() == []
    mark = json.loads((tmp_path / "copy" / "backup.json").read_text())
    assert len(mark["of"]) == 32 and len(mark["databases"]) == 1
