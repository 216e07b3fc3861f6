"""Backups while another process changes the registry all the time: each is whole, and a state that there was.

CL_AST_BACKUPS says how many: 6 in a test run.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import places
import pytest
from living import World, look
from places import Place

from registry import Registry

BACKUPS = int(os.environ.get("CL_AST_BACKUPS", "6"))
SCRIPT = """
import json, random, sys
from pathlib import Path
from conftest import make_adapter, make_new
from living import World, do
from places import place_of
from registry import Registry

place, log, stop = place_of(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
reg, dice, world = Registry.open(place.location), random.Random(3), World()
with log.open("w") as out:
    while not stop.exists():
        operation = world.choose(dice)
        out.write(json.dumps(operation) + chr(10))
        out.flush()
        do(place, reg, operation, make_adapter, make_new)
        world = world.after(operation)[-1]
"""


@pytest.mark.slow
def test_each_is_whole_and_a_state_that_there_was(
    place: Place, reg: Registry, tmp_path: Path, python: Callable[..., "subprocess.Popen[str]"]
) -> None:
    log, stop = tmp_path / "log", tmp_path / "stop"
    process = python(SCRIPT, place.location, log, stop)
    while not log.exists() or len(log.read_text().splitlines()) < 5:
        assert process.poll() is None, process.communicate()
    found = []
    try:
        for number in range(BACKUPS):
            dest = tmp_path / ("former" if number % 2 else f"{number}")
            report = reg.backup(dest)
            assert report.problems == ()
            with Registry.open(dest, create=False) as copy:
                assert copy.verify() == []
                found.append(look(places.folder(dest), copy))
            if number % 2 == 0:
                shutil.rmtree(dest)
    finally:
        stop.touch()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    states = [World()]
    for line in log.read_text().splitlines():
        states += states[-1].after(tuple(json.loads(line)))[1:]
    seen = [state.seen() for state in states]
    assert len(seen) > BACKUPS
    for state in found:  # in the order of time
        assert state in seen, state
        del seen[: seen.index(state)]
