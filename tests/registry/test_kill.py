"""A real process, killed with SIGKILL at random moments while it adds, replaces, renames, removes, rolls back,
collects, rebuilds and takes changes back. CL_AST_KILLS says how often: 15 in a test run, 300 in CI; a sixth of that
on PostgreSQL.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from places import Place

from registry import Registry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

KILLS = int(os.environ.get("CL_AST_KILLS", "15"))

# One process imports everything, and forks the ones to be killed. A child says what it is about to do; after the kill
# the registry must be in a state that its last words lead to.
SCRIPT = """
import json, os, random, signal, sys, tempfile, time
from pathlib import Path
from conftest import BACKBONE, make_adapter, make_new
from living import World, do, survived
from places import folder, place_of
from registry import Registry

place = place_of(sys.argv[1])

def work(world, dice, out):
    reg = Registry.open(place.location)
    while True:
        operation = world.choose(dice)
        os.write(out, (json.dumps(operation) + chr(10)).encode())
        do(place, reg, operation, make_adapter, make_new)
        world = world.after(operation)[-1]

def practise():
    "How long an operation takes here and now, once everything is compiled."
    dice, world = random.Random(1), World()
    with tempfile.TemporaryDirectory() as home, Registry.open(home) as reg:
        reg.set_backbone(BACKBONE)
        for count in range(24):
            if count == 12:
                start = time.perf_counter()
            operation = world.choose(dice)
            do(folder(Path(home)), reg, operation, make_adapter, make_new)
            world = world.after(operation)[-1]
        return (time.perf_counter() - start) / 12

unit = practise()
dice, world, done = random.Random(int(sys.argv[3])), World(), {}
for kill in range(int(sys.argv[2])):
    said, out = os.pipe()
    child = os.fork()
    if not child:
        os.close(said)
        work(world, random.Random(kill), out)
    os.close(out)
    started = os.read(said, 1)
    time.sleep(dice.uniform(0, 10 * unit))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "it ended by itself"
    words = (started + b"".join(iter(lambda: os.read(said, 65536), b""))).decode().splitlines()
    os.close(said)
    place.settle()
    states = [world]
    for line in words:
        operation = tuple(json.loads(line))
        states = states[-1].after(operation)
        done[operation[0]] = done.get(operation[0], 0) + 1
    with Registry.open(place.location) as reg:
        world = survived(place, reg, states)
print(json.dumps(done))
"""


@pytest.mark.slow
def test_killed_at_random_moments(place: Place, reg: Registry, python: Callable[..., "subprocess.Popen[str]"]) -> None:
    kills = KILLS if isinstance(place.location, Path) else -(-KILLS // 6)
    process = python(SCRIPT, place.location, kills, 5)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert kills < 200 or len(json.loads(output)) == 8, output  # every kind of operation was under way
    with Registry.open(place.location) as survivor:
        survivor.gc([file.sha256 for file in survivor.gc().unnamed])
        assert len(place.files()) == len(survivor.tasks())
