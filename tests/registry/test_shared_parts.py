"""Shared parts: immutable files that versions name, on both databases."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import places
import pytest
from places import Place

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import BackboneRecord, NewVersion, Registry, SharedPart, crash_points, header

New = Callable[..., NewVersion]
Adapter = Callable[..., bytes]
METHOD = "poly:s=8,r=6"


def path_of(place: Place, part: SharedPart) -> Path:
    return place.adapters / f"{part.sha256}.safetensors"


@pytest.fixture
def part(reg: Registry, adapter: Adapter) -> SharedPart:
    return reg.share("sounds", adapter(7), METHOD, ["a", "b"])


def test_it_is_stored_as_it_is_and_says_what_it_is(
    reg: Registry, part: SharedPart, adapter: Adapter, tensors: Callable[[bytes], bytes]
) -> None:
    data = reg.read_shared(part.sha256)
    assert tensors(data) == tensors(adapter(7)) and len(data) == part.bytes
    words = header.read(data).description()
    assert (words["kind"], words["name"], words["method"]) == ("shared part", "sounds", METHOD)
    assert b"ast-mini" not in data  # a backbone's name may be a path
    assert reg.shared_parts() == [part] and reg.shared_part("SOUNDS") == part
    with pytest.raises(RegistryError, match='no shared part "sound" in the registry'):
        reg.shared_part("sound")


def test_no_other_gets_its_name_and_no_task_an_unknown_one(
    reg: Registry, part: SharedPart, adapter: Adapter, new: New
) -> None:
    with pytest.raises(RegistryError, match="never changes"):
        reg.share("Sounds", adapter(8), METHOD, ["a"])
    for name in ("a/b", "", "auto"):
        with pytest.raises(RegistryError):
            reg.share(name, adapter(8), METHOD, ["a"])
    with pytest.raises(CorruptRegistryError):
        reg.share("other", b"no file", METHOD, ["a"])
    with pytest.raises(RegistryError, match="not in the registry any more"):
        reg.commit("birds", adapter(1), new(shared="0" * 64))
    assert [one.name for one in reg.shared_parts()] == ["sounds"] and reg.tasks() == [] and reg.verify() == []


@pytest.mark.slow
def test_gc_keeps_it_while_a_current_version_reads_it_and_undo_brings_it_back(
    reg: Registry, place: Place, part: SharedPart, adapter: Adapter, new: New
) -> None:
    reg.commit("birds", adapter(1), new(shared=part.sha256))
    assert reg.task("birds").version.shared == part.sha256
    assert reg.gc().dropped == () and path_of(place, part).exists()
    reg.commit("birds", adapter(2), new(), replace=True)
    assert reg.shared_parts() == [part]  # the former version reads it still
    dropped = {file.name: file.why for file in reg.gc().dropped}
    assert len(dropped) == 2 and 'reads the shared part "sounds"' in dropped[path_of(place, part).name]
    assert reg.shared_parts() == [] and not path_of(place, part).exists()
    assert reg.undo().now.startswith("the shared part sounds is here again")
    assert reg.shared_parts() == [part] and path_of(place, part).exists()
    assert [version.shared for version in reg.versions("birds")] == [part.sha256, None] and reg.verify() == []
    reg.undo()
    assert reg.shared_parts() == [] and reg.verify() == []


@pytest.mark.slow
def test_its_making_can_be_taken_back(reg: Registry, place: Place, part: SharedPart) -> None:
    last = reg.last_change()
    assert last is not None and last.what == "made the shared part sounds"
    assert "is not here any more" in reg.undo().now
    assert reg.shared_parts() == [] and not path_of(place, part).exists()
    reg.undo()
    assert reg.shared_parts() == [part] and reg.verify() == []


@pytest.mark.slow
def test_a_file_that_is_damaged_or_gone_is_reported_and_named(reg: Registry, place: Place, part: SharedPart) -> None:
    path = path_of(place, part)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (problem,) = reg.verify()
    assert "shared part" in problem.what and "SHA-256 differs" in problem.what
    path.unlink()
    (problem,) = reg.verify()
    assert "sounds" in problem.what and "missing" in problem.what
    with pytest.raises(CorruptRegistryError, match='the shared part "sounds" is missing'):
        reg.read_shared(part.sha256)


@pytest.mark.slow
def test_it_is_rebuilt_and_so_are_the_tasks_that_read_it(
    reg: Registry, place: Place, part: SharedPart, adapter: Adapter, new: New
) -> None:
    reg.commit("birds", adapter(1), new(shared=part.sha256))
    reg.commit("rain", adapter(2), new())
    reg.close()
    place.lose()
    Registry.rebuild(place.location)
    with Registry.open(place.location) as again:
        assert again.shared_parts() == [part] and again.verify() == []
        assert [task.version.shared for task in again.tasks()] == [part.sha256, None]
    path_of(place, part).unlink()
    place.lose()
    report = Registry.rebuild(place.location)
    (left_out,) = report.skipped
    assert left_out.task == "birds" and "shared part" in left_out.what
    with Registry.open(place.location) as again:
        assert [task.name for task in again.tasks()] == ["rain"]


@pytest.mark.slow
def test_one_that_the_database_does_not_know_stays_until_it_is_named(
    reg: Registry, place: Place, part: SharedPart, adapter: Adapter, new: New
) -> None:
    data = reg.read_shared(part.sha256)
    reg.gc()
    reg.commit("birds", adapter(1), new())
    path_of(place, part).write_bytes(data)
    (left,) = reg.gc().unnamed
    assert (left.task, left.shared) == (None, "sounds")
    assert str(left).startswith("a shared part, sounds, that the database does not know: `cl-ast rebuild`")
    assert [file.name for file in reg.gc([part.sha256[:12]]).dropped] == [path_of(place, part).name]
    assert reg.verify() == []


@pytest.mark.slow
def test_a_backup_has_it(reg: Registry, part: SharedPart, adapter: Adapter, new: New, tmp_path: Path) -> None:
    reg.commit("birds", adapter(1), new(shared=part.sha256))
    assert reg.backup(tmp_path / "copy").problems == ()
    with Registry.open(tmp_path / "copy") as copy:
        assert copy.shared_parts() == [part] and copy.read_shared(part.sha256) == reg.read_shared(part.sha256)
        assert copy.verify() == []


def test_another_registry_takes_it_as_it_is(
    reg: Registry, part: SharedPart, adapter: Adapter, backbone: BackboneRecord, tmp_path: Path
) -> None:
    data = reg.read_shared(part.sha256)
    with Registry.open(tmp_path / "guest") as guest:
        guest.set_backbone(backbone)
        guest.share("sounds", adapter(9), METHOD, ["c"])
        taken = guest.import_shared(data)
        assert taken.sha256 == part.sha256 and taken.name == f"sounds-{part.sha256[:12]}"
        assert guest.import_shared(data) == taken and len(guest.shared_parts()) == 2
        assert guest.read_shared(part.sha256) == data and guest.verify() == []
        with pytest.raises(CorruptRegistryError):
            guest.import_shared(adapter(3))
    with Registry.open(tmp_path / "other") as other:
        other.set_backbone(BackboneRecord("other", "e" * 64, 1, 4))
        with pytest.raises(RegistryError, match="another backbone"):
            other.import_shared(data)


@pytest.mark.parametrize(
    "column", ["name = 'a/b'", "sha256 = printf('%064d', 0)", "tasks = '{}'", "method = ''", "bytes = -1"]
)
def test_a_row_that_cannot_be_is_left_out_and_reported(local: Registry, adapter: Adapter, column: str) -> None:
    part = local.share("sounds", adapter(7), METHOD, ["a"])
    places.folder(Path(local.place)).execute(f"UPDATE shared_parts SET {column}")
    assert local.verify()
    if not column.startswith("sha256"):
        assert local.shared_parts() == []
        with pytest.raises(CorruptRegistryError, match="nothing was deleted"):
            local.gc()
    else:
        assert part not in local.shared_parts()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("operation", ["share", "gc", "undo"])
def test_dying_at_every_step_leaves_all_or_nothing(local: Registry, adapter: Adapter, operation: str) -> None:
    def work(registry: Registry) -> None:
        if operation == "share":
            registry.share("new", adapter(8), METHOD, ["a"])
        else:
            registry.gc() if operation == "gc" else registry.undo()

    names = {"share": ["new"], "gc": ["sounds"], "undo": ["sounds"]}[operation]
    steps: list[str] = []
    for number in range(40):
        if operation != "share" and not local.shared_parts():
            local.share("sounds", adapter(7), METHOD, ["a"])
        child = os.fork()
        if not child:
            count = iter(range(1_000))
            crash_points.hook = lambda step: os._exit(9) if next(count) == number else None  # noqa: B023
            work(Registry.open(local.place))
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        steps.append(str(ended))
        there = [part.name for part in local.shared_parts()]
        assert there in ([], names)
        assert [problem for problem in local.verify() if "does not know" not in problem.what] == []
        local.gc([one.sha256 for one in local.gc(dry_run=True).unnamed])
        local.gc()
        assert local.verify() == [] and local.shared_parts() == []
        if ended == 0:
            break
    assert steps[-1] == "0" and steps.count("9") >= 2


@pytest.mark.slow
def test_the_header_of_a_task_names_it(reg: Registry, part: SharedPart, adapter: Adapter, new: New) -> None:
    version = reg.commit("birds", adapter(1), new(shared=part.sha256)).version
    words = header.read(reg.read_adapter(version)).description()
    assert words["shared"] == part.sha256 and json.dumps(words)
    assert reg.rename("birds", "owls").version.shared == part.sha256
