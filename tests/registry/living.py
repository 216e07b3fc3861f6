"""What a registry should hold after each operation, worked out without it: a model to compare a survivor with."""

import copy
import hashlib
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from places import Place

from registry import NewVersion, Registry, TaskRecord, VersionRecord

Operation = tuple[Any, ...]
"""What is done, and what with: ("commit", "birds", 7)."""
TWO_TASKS: tuple[Operation, ...] = (("commit", "a", 1), ("replace", "a", 2), ("commit", "b", 3))
"""What makes a registry with two tasks, one of which has two versions."""


@dataclass
class Versions:
    """One task: its versions' contents by number, the current one, and the highest number ever given."""

    fills: dict[int, int]
    current: int = 1
    last: int = 1
    id: int = field(default_factory=itertools.count().__next__)


Tasks = dict[str, Versions]


@dataclass
class World:
    """Tasks by name, and what they were before the last change, which `undo` brings back.

    `after` lists every state that an operation passes through, the first and the last included.
    """

    tasks: Tasks = field(default_factory=dict)
    before: Tasks | None = None

    def seen(self) -> object:
        return {name: (task.current, task.last, dict(task.fills)) for name, task in self.tasks.items()}

    def after(self, operation: Operation) -> list["World"]:
        kind, *rest = operation
        states = [self]
        if kind == "rebuild":  # a collection comes first, as files without a row would come back
            states.append(states[-1].after(("gc",))[-1])
        now = states[-1].tasks
        world = World(copy.deepcopy(now), copy.deepcopy(now))
        if kind == "commit":
            world.tasks[rest[0]] = Versions({1: rest[1]})
        elif kind == "replace":
            task = world.tasks[rest[0]]
            task.last += 1
            task.current = task.last
            task.fills[task.last] = rest[1]
        elif kind == "rename":
            world.tasks[rest[1]] = world.tasks.pop(rest[0])
        elif kind == "remove":
            del world.tasks[rest[0]]
        elif kind == "rollback":
            world.tasks[rest[0]].current = rest[1]
        elif kind == "gc":
            for task in world.tasks.values():
                task.fills = {task.current: task.fills[task.current]}
            if world.tasks == now:  # there was nothing to drop, so that is no change
                world.before = copy.deepcopy(self.before)
        elif kind == "undo":
            assert self.before is not None
            world.tasks = copy.deepcopy(self.before)
            for task in world.tasks.values():  # no number is given twice
                task.last = max([task.last, *(other.last for other in now.values() if other.id == task.id)])
        elif kind == "rebuild":
            world.before = None
            for task in world.tasks.values():
                task.last = task.current = max(task.fills)
        return [*states, world]

    def choose(self, dice: random.Random) -> Operation:
        """Something that can be done now."""
        names, fill = sorted(self.tasks), dice.randrange(255)  # four bytes 255 are not a number
        free = next(name for name in (f"t{dice.randrange(10**6)}",) if name not in self.tasks)
        rolled = [(n, k) for n, task in self.tasks.items() for k in task.fills if k != task.current]
        options: list[Operation] = [("commit", free, fill)] if len(names) < 6 else [("remove", dice.choice(names))]
        if names:
            options += [("replace", dice.choice(names), fill), ("rename", dice.choice(names), free), ("gc",)]
            options += [("remove", dice.choice(names)), ("rebuild",)]
        if self.before is not None:
            options += [("undo",)] * 3
        if rolled:
            options += [("rollback", *dice.choice(rolled))] * 2
        return dice.choice(options)


def do(
    place: Place,
    reg: Registry,
    operation: Operation,
    make_adapter: Callable[..., bytes],
    make_new: Callable[..., NewVersion],
) -> None:
    kind, *rest = operation
    if kind in ("commit", "replace"):
        reg.commit(rest[0], make_adapter(rest[1], floats=2_000), make_new(), replace=kind == "replace")
    elif kind == "rebuild":
        for left in reg.gc().unnamed:  # the files of commits that were killed
            (place.adapters / left.name).unlink()
        reg.close()
        Registry.rebuild(place.location)
    else:
        getattr(reg, kind)(*rest)


def look(place: Place, reg: Registry) -> object:
    """What `World.seen` says of the model, read from the registry, each file whole."""
    return _seen(place, reg, [(task, reg.versions(task.name)) for task in reg.tasks()])


def _seen(place: Place, reg: Registry, tasks: Sequence[tuple[TaskRecord, Sequence[VersionRecord]]]) -> object:
    found = {}
    last = dict(place.execute("SELECT name, last_number FROM tasks"))  # what no method tells
    for task, versions in tasks:
        fills = {}
        for version in versions:
            data = reg.read_adapter(version)
            assert hashlib.sha256(data).hexdigest() == version.adapter_sha256
            (fills[version.number],) = set(data[8 + int.from_bytes(data[:8], "little") :])
        found[task.name] = (task.version.number, last[task.name], fills)
    return found


def survived(place: Place, reg: Registry, states: list[World]) -> World:
    """One of these states, whole: verify is clean, and at most files without a row are left for gc.

    The file of a commit that never came true is whole and may be needed, so it is reported and left where it is.
    """
    problems = [problem for problem in reg.verify() if "does not know" not in problem.what]
    assert problems == [], problems
    tasks = [(task, reg.versions(task.name)) for task in reg.tasks()]
    found = _seen(place, reg, tasks)
    whole = [state for state in states if state.seen() == found]
    assert whole, (found, [state.seen() for state in states])
    kept = {place.file(version).name for _, versions in tasks for version in versions}
    there = {path.name for path in place.files()}
    collected = reg.gc(dry_run=True)
    unknown = {file.name for file in collected.unnamed}
    assert kept <= there and {file.name for file in collected.dropped} | unknown >= there - kept
    assert all(place.adapters.joinpath(name).read_bytes() for name in unknown)
    home = place.adapters.parent
    for path in home.glob("registry.db.before-*"):
        path.unlink()
    beside = {path.name for path in home.iterdir()} - {"adapters", "registry.db"}
    assert beside <= {
        f"registry.db{part}{log}" for part in ("", ".rebuilding") for log in ("", "-wal", "-shm", "-journal")
    }, beside
    return whole[-1]
