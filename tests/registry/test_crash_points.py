"""Every write, fsync, rename and commit of every operation: die there, or meet a full disk there.

On SQLite, whose registry is copied by copying a folder; `test_kill` kills on PostgreSQL too.
"""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import places
import pytest
from living import TWO_TASKS, World, do, look, survived

from cl_ast.errors import RegistryError
from registry import BackboneRecord, NewVersion, Registry, crash_points

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")

# What follows "undo" is done before: it is what is taken back.
OPERATIONS = [
    ("commit", "new", 9), ("replace", "a", 9), ("rename", "a", "c"), ("remove", "a"), ("rollback", "a", 1), ("gc",),
    ("rebuild",), ("undo",), ("undo", "remove", "a"), ("undo", "rename", "a", "c"), ("undo", "gc"), ("undo", "undo"),
]  # fmt: skip


@pytest.fixture(scope="module")
def two_tasks(
    tmp_path_factory: pytest.TempPathFactory,
    backbone: BackboneRecord,
    adapter: Callable[..., bytes],
    new: Callable[..., NewVersion],
) -> tuple[Path, World]:
    """A registry with two tasks, one with two versions, which the tests copy."""
    place, world = places.folder(tmp_path_factory.mktemp("started") / "reg"), World()
    with Registry.open(place.location) as reg:
        reg.set_backbone(backbone)
        for operation in TWO_TASKS:
            do(place, reg, operation, adapter, new)
            world = world.after(operation)[-1]
        assert look(place, reg) == world.seen()
    return Path(place.location), world


@pytest.fixture
def started(two_tasks: tuple[Path, World], tmp_path: Path) -> tuple[Path, World]:
    home, world = two_tasks
    return shutil.copytree(home, tmp_path / "started"), world


def steps_of(place: Path, work: Callable[[Registry], None]) -> list[str]:
    seen: list[str] = []
    crash_points.hook = seen.append
    try:
        with Registry.open(place) as reg:
            work(reg)
    finally:
        crash_points.hook = None
    return seen


def prepared(
    home: Path,
    world: World,
    operation: tuple[object, ...],
    adapter: Callable[..., bytes],
    new: Callable[..., NewVersion],
) -> tuple[tuple[object, ...], World]:
    """Do what an undo takes back; return what is left to do, and the state before it."""
    if len(operation) > 1 and operation[0] == "undo":
        with Registry.open(home) as reg:
            do(places.folder(home), reg, operation[1:], adapter, new)
        return operation[:1], world.after(operation[1:])[-1]
    return operation, world


def stop_at(number: int, how: Callable[[], None]) -> Callable[[str], None]:
    count = iter(range(10_000))
    return lambda step: how() if next(count) == number else None


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: "-".join(map(str, operation)))
def test_dying_at_every_step(
    started: tuple[Path, World],
    operation: tuple[object, ...],
    adapter: Callable[..., bytes],
    new: Callable[..., NewVersion],
    tmp_path: Path,
) -> None:
    home, world = started
    operation, world = prepared(home, world, operation, adapter, new)
    states = world.after(operation)
    place = tmp_path / "count"
    shutil.copytree(home, place)
    all_steps = steps_of(place, lambda reg: do(places.folder(place), reg, operation, adapter, new))
    assert "commit" in all_steps and len(all_steps) >= 2
    for number in range(len(all_steps)):
        place = tmp_path / f"{number}"
        shutil.copytree(home, place)
        child = os.fork()
        if not child:
            crash_points.hook = stop_at(number, lambda: os._exit(9))
            do(places.folder(place), Registry.open(place), operation, adapter, new)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, all_steps[number]
        with Registry.open(place) as survivor:
            was = survived(places.folder(place), survivor, states)
            left = [file.sha256 for file in survivor.gc().unnamed]
            assert len(left) <= (operation[0] in ("commit", "replace")), "gc knows what a change left"
            if left:
                survivor.gc(left)
            # It goes on as if nothing had been, and gc leaves nothing behind.
            do(places.folder(place), survivor, ("commit", "later", 5), adapter, new)
            survivor.gc()
            assert len(places.folder(place).files()) == len(was.tasks) + 1
    with Registry.open(place) as last:  # the last step dies after the commit
        assert operation[0] == "gc" or look(places.folder(place), last) != world.seen()


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: "-".join(map(str, operation)))
def test_an_error_at_every_step(
    started: tuple[Path, World],
    operation: tuple[object, ...],
    adapter: Callable[..., bytes],
    new: Callable[..., NewVersion],
    tmp_path: Path,
) -> None:
    codes = cycle([errno.ENOSPC, errno.EIO])  # which differ in nothing but what the message advises

    def fail() -> None:
        code = next(codes)
        raise OSError(code, os.strerror(code))

    home, world = started
    operation, world = prepared(home, world, operation, adapter, new)
    states = world.after(operation)
    place = tmp_path / "count"
    shutil.copytree(home, place)
    all_steps = steps_of(place, lambda reg: do(places.folder(place), reg, operation, adapter, new))
    for number, step in enumerate(all_steps):
        if "commit" in step:  # SQLite's own files: it is told of a full disk by other means (test_crash)
            continue
        place = tmp_path / f"{number}"
        shutil.copytree(home, place)
        crash_points.hook = stop_at(number, fail)
        try:
            with Registry.open(place) as failing:
                do(places.folder(place), failing, operation, adapter, new)
        except RegistryError as error:
            assert "\n" not in str(error)
        finally:
            crash_points.hook = None
        with Registry.open(place) as survivor:
            survived(places.folder(place), survivor, states)
