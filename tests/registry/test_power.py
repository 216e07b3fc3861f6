"""Power loss, simulated: every state that a disk could be in at any moment of an operation is opened and verified.

The operation runs under strace, which says what it wrote, synced and renamed; `losing` has the model. What is not
covered: disks that lie about fsync, and file systems that reorder renames.
"""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import losing
import places
import pytest
from living import TWO_TASKS, World, do, survived

from registry import BackboneRecord, NewVersion, Registry

SCRIPT = """
import json, os, sys
from pathlib import Path
from conftest import make_adapter, make_new
from living import do
from places import folder
from registry import Registry
for home, operation in json.loads(sys.argv[1]):
    place = folder(Path(home))
    with Registry.open(place.location) as reg:
        do(place, reg, tuple(operation), make_adapter, make_new)
        os.write(1, home.encode())
"""
OPERATIONS = ['["commit", "new", 9]', '["replace", "a", 9]', '["rename", "a", "c"]', '["remove", "a"]']
OPERATIONS += ['["rollback", "a", 1]', '["gc"]', '["rebuild"]', '["undo"]', '["undo", "remove", "a"]', '["undo", "gc"]']
# The share of the data, and of the names, that was lucky. Of halves there is one a moment: the dice choose which half.
CUTS, HALVES = [(0, 0), (1, 1), (0, 1), (1, 0)], [(0.5, 0.5), (0.5, 1)]


def strace_works() -> bool:
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not strace_works(), reason="needs strace, and the right to trace"
)


class Traced(NamedTuple):
    """An operation: where it was done, what it passed through, the disk before it, and what strace says of all."""

    home: Path
    states: list[World]
    disk: losing.Disk
    trace: str


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory,
    backbone: BackboneRecord,
    adapter: Callable[..., bytes],
    new: Callable[..., NewVersion],
    python: Callable[..., "subprocess.Popen[str]"],
) -> dict[str, Traced]:
    """Every operation in a registry of its own with two tasks, one of which has two versions; all by one process."""
    folder, wanted = tmp_path_factory.mktemp("power"), []
    for number, words in enumerate(OPERATIONS):
        operation, home, world = tuple(json.loads(words)), folder / f"{number:02}", World()
        taken_back = []
        if operation[0] == "undo" and len(operation) > 1:
            operation, taken_back = operation[:1], [operation[1:]]
        with Registry.open(home) as reg:
            reg.set_backbone(backbone)
            for before in (*TWO_TASKS, *taken_back):
                do(places.folder(home), reg, before, adapter, new)
                world = world.after(before)[-1]
        wanted.append((home, operation, world.after(operation), losing.load(home)))
    trace = folder / "trace"
    strace = ["strace", "-f", "-xx", "-s", "1000000", "-e", f"trace={losing.CALLS}", "-o", str(trace)]
    todo = json.dumps([(str(home), operation) for home, operation, _, _ in wanted])
    output, errors = python(SCRIPT, todo, before=strace).communicate(timeout=120)
    assert output == "".join(str(home) for home, *_ in wanted), errors
    said = trace.read_text()
    found = [Traced(home, states, disk, said) for home, _, states, disk in wanted]
    return dict(zip(OPERATIONS, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda words: "-".join(words.split('"')[1::2]))
def test_power_is_lost_at_any_moment(operation: str, traced: dict[str, Traced], tmp_path: Path) -> None:
    home, states, disk, trace = traced[operation]
    dice, seen, done, before = random.Random(1), set(), False, None
    halves = cycle(HALVES)
    for call in losing.replay(disk, trace, str(home)):
        done = done or call == "returned"
        now = (done, len(disk.data), len(disk.moves))
        if now == before:
            continue  # the last call changed nothing
        before = now
        for cut in (*CUTS, next(halves)):
            left = disk.after_a_cut(dice, *cut)
            key = hash((done, tuple(sorted(left.items()))))
            if key in seen:
                continue
            seen.add(key)
            there = tmp_path / "left"
            shutil.rmtree(there, ignore_errors=True)
            for name, content in left.items():
                path = there / Path(name).relative_to(home)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            with Registry.open(there) as reg:
                survived(places.folder(there), reg, states[-1:] if done else states)
    assert done and len(seen) > 5
