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
from pathlib import Path

import losing
import places
import pytest
from living import World, do, survived

from registry import NewVersion, Registry

SCRIPT = """
import json, os, sys
from pathlib import Path
from conftest import make_adapter, make_new
from living import do
from places import folder
from registry import Registry
place = folder(Path(sys.argv[1]))
with Registry.open(place.location) as reg:
    do(place, reg, tuple(json.loads(sys.argv[2])), make_adapter, make_new)
    os.write(1, b"returned")
"""
OPERATIONS = ['["commit", "new", 9]', '["replace", "a", 9]', '["rename", "a", "c"]', '["remove", "a"]']
OPERATIONS += ['["rollback", "a", 1]', '["gc"]', '["rebuild"]', '["undo"]', '["undo", "remove", "a"]', '["undo", "gc"]']
CUTS = [(0, 0), (1, 1), (0, 1), (1, 0), (0.5, 0.5), (0.5, 1)]  # share of the data, and of the names, that was lucky


def strace_works() -> bool:
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not strace_works(), reason="needs strace, and the right to trace"
)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda words: "-".join(words.split('"')[1::2]))
def test_power_is_lost_at_any_moment(
    operation: str,
    local: Registry,
    adapter: Callable[..., bytes],
    new: Callable[..., NewVersion],
    python: Callable[..., "subprocess.Popen[str]"],
    tmp_path: Path,
) -> None:
    home, world, place = Path(local.place), World(), places.folder(Path(local.place))
    for before in (("commit", "a", 1), ("replace", "a", 2), ("commit", "b", 3)):
        do(place, local, before, adapter, new)
        world = world.after(before)[-1]
    wanted, taken_back = json.loads(operation)[:1], tuple(json.loads(operation)[1:])
    if wanted != ["undo"]:
        wanted, taken_back = json.loads(operation), ()
    if taken_back:
        do(place, local, taken_back, adapter, new)
        world = world.after(taken_back)[-1]
    states = world.after(tuple(wanted))
    disk = losing.load(home)
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-xx", "-s", "1000000", "-e", f"trace={losing.CALLS}", "-o", str(trace)]
    output, errors = python(SCRIPT, home, json.dumps(wanted), before=strace).communicate(timeout=120)
    assert output == "returned", errors
    dice, seen, done = random.Random(1), set(), False
    for call in losing.replay(disk, trace.read_text(), str(home)):
        done = done or call == "returned"
        for cut in CUTS:
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
