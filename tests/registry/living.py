"""What a registry should hold after each operation, worked out without it: a model to compare a survivor with."""

import copy
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from places import Place

from registry import NewVersion, Registry

Operation = tuple[Any, ...]
"""What is done, and what with: ("commit", "birds", 7)."""


@dataclass
class Versions:
    """One task: its versions' contents by number, the current one, and the highest number ever given."""

    fills: dict[int, int]
    current: int = 1
    last: int = 1


@dataclass
class World:
    """Tasks by name. `after` lists every state that an operation passes through, the first and the last included."""

    tasks: dict[str, Versions] = field(default_factory=dict)

    def seen(self) -> object:
        return {name: (task.current, task.last, dict(task.fills)) for name, task in self.tasks.items()}

    def after(self, operation: Operation) -> list["World"]:
        kind, *rest = operation
        states = [self]
        if kind == "rebuild":  # a collection comes first, as files without a row would come back
            states.append(states[-1].after(("gc",))[-1])
        world = copy.deepcopy(states[-1])
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
        elif kind == "rebuild":
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
        reg.gc()
        reg.close()
        Registry.rebuild(place.location)
    else:
        getattr(reg, kind)(*rest)


def look(place: Place, reg: Registry) -> object:
    """What `World.seen` says of the model, read from the registry, each file whole."""
    found = {}
    last = dict(place.execute("SELECT name, last_number FROM tasks"))  # what no method tells
    for task in reg.tasks():
        fills = {}
        for version in reg.versions(task.name):
            data = reg.read_adapter(version)
            assert hashlib.sha256(data).hexdigest() == version.adapter_sha256
            (fills[version.number],) = set(data[8 + int.from_bytes(data[:8], "little") :])
        found[task.name] = (task.version.number, last[task.name], fills)
    return found


def survived(place: Place, reg: Registry, states: list[World]) -> World:
    """One of these states, whole: verify is clean, and at most files without a row are left for gc."""
    assert reg.verify() == [], reg.verify()
    found = look(place, reg)
    whole = [state for state in states if state.seen() == found]
    assert whole, (found, [state.seen() for state in states])
    kept = {place.file(v).name for task in reg.tasks() for v in reg.versions(task.name)}
    there = {path.name for path in place.files()}
    assert kept <= there and {file.name for file in reg.gc(dry_run=True).dropped} >= there - kept
    home = place.adapters.parent
    for path in home.glob("registry.db.before-*"):
        path.unlink()
    beside = {path.name for path in home.iterdir()} - {"adapters", "registry.db"}
    assert beside <= {
        f"registry.db{part}{log}" for part in ("", ".rebuilding") for log in ("", "-wal", "-shm", "-journal")
    }, beside
    return whole[-1]
