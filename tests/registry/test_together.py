"""Eight processes on one registry, adding, reading, replacing, renaming and removing, without a lost update."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from places import Place

from registry import NewVersion, Registry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")

PROCESSES, ROUNDS = 8, 3

WORKER = """
import os, sys
from conftest import make_adapter, make_new
from cl_ast.errors import TaskNotFoundError
from registry import Accuracy, Registry, models
rounds, children = int(sys.argv[3]), []
for who in range(int(sys.argv[2])):  # everything is imported: they start at once
    child = os.fork()
    if not child:
        break
    children.append(child)
else:
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    sys.exit()
reg = Registry.open(sys.argv[1])
for i in range(rounds):
    name = f"p{who}-{i}"
    reg.commit(name, make_adapter(10 * who + i), make_new(), [Accuracy(name, "oracle", 0.5, 4)])
    # Everybody's: a version that is lost would be a number too few in the end.
    reg.commit("shared", make_adapter(10 * who + i), make_new(), replace=True)
    for task in reg.tasks():
        try:
            assert len(reg.read_adapter(task.version)) == task.version.adapter_bytes
        except TaskNotFoundError:
            pass  # its own process was faster
    if i % 3 == 1:
        reg.rename(name, name + "!")
    if i % 3 == 2:
        reg.remove(name)
    if i == who:
        reg.gc(dry_run=True)
"""


@pytest.mark.slow
def test_eight_processes_lose_nothing(
    place: Place,
    reg: Registry,
    python: Callable[..., "subprocess.Popen[str]"],
    adapter: Callable[..., bytes],
    new: Callable[..., NewVersion],
) -> None:
    reg.commit("shared", adapter(200), new())
    output, errors = python(WORKER, place.location, PROCESSES, ROUNDS).communicate(timeout=300)
    assert (output, errors) == (f"{[0] * PROCESSES}\n", "")
    expected = {f"p{who}-{i}" + "!" * (i % 3) for who in range(PROCESSES) for i in range(ROUNDS) if i % 3 != 2}
    assert {task.name for task in reg.tasks()} == {"shared", *expected}
    assert [v.number for v in reg.versions("shared")] == list(range(1, PROCESSES * ROUNDS + 2))
    assert reg.verify() == [] and len(place.measured()) == len(expected)
    assert {file.why for file in reg.gc().dropped} == {
        f'version {number} of task "shared" is not the current one' for number in range(1, PROCESSES * ROUNDS + 1)
    }
