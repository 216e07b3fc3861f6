"""Eight processes on one registry, adding, reading, replacing, renaming and removing, without a lost update."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
from forking import in_forks
from places import Place

from cl_ast.errors import TaskNotFoundError
from registry import Accuracy, NewVersion, Registry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")

PROCESSES, ROUNDS = 8, 3


@pytest.mark.slow
def test_eight_processes_lose_nothing(
    place: Place, reg: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion]
) -> None:
    reg.commit("shared", adapter(200), new())

    def work(who: int) -> None:
        own = Registry.open(place.location)
        for i in range(ROUNDS):
            name = f"p{who}-{i}"
            own.commit(name, adapter(10 * who + i), new(), [Accuracy(name, "oracle", 0.5, 4)])
            # Everybody's: a version that is lost would be a number too few in the end.
            own.commit("shared", adapter(10 * who + i), new(), replace=True)
            for task in own.tasks():
                with suppress(TaskNotFoundError):  # its own process was faster
                    assert len(own.read_adapter(task.version)) == task.version.adapter_bytes
            if i % 3 == 1:
                own.rename(name, name + "!")
            if i % 3 == 2:
                own.remove(name)
            if i == who:
                own.gc(dry_run=True)

    assert in_forks(*[partial(work, who) for who in range(PROCESSES)]) == [0] * PROCESSES
    expected = {f"p{who}-{i}" + "!" * (i % 3) for who in range(PROCESSES) for i in range(ROUNDS) if i % 3 != 2}
    assert {task.name for task in reg.tasks()} == {"shared", *expected}
    assert [v.number for v in reg.versions("shared")] == list(range(1, PROCESSES * ROUNDS + 2))
    assert reg.verify() == [] and len(place.measured()) == len(expected)
    assert {file.why for file in reg.gc().dropped} == {
        f'version {number} of task "shared" is not the current one' for number in range(1, PROCESSES * ROUNDS + 1)
    }
