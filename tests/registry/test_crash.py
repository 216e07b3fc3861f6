"""Real processes, killed or starved at bad moments: what was committed stays, and nothing is half there."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import NewVersion, Registry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

Python = Callable[..., "subprocess.Popen[str]"]
KILLS = 25

# One process imports everything, and forks the ones to be killed.
KILLED = """
import os, random, signal, sys, time
from conftest import make_adapter, make_new
from registry import Accuracy, Registry

def work(start):
    reg = Registry.open(sys.argv[1])
    for i in range(start, start + 1000):
        name = f"t{i}"
        reg.commit(name, make_adapter(i, floats=20_000), make_new(), [Accuracy(name, "oracle", 0.5, 4)])
        os.write(1, (name + chr(10)).encode())  # in one piece
        if i % 3 == 0:
            reg.commit(name, make_adapter(i + 1), make_new(), replace=True)
        if i % 4 == 0:
            reg.rename(name, f"r{i}")
        if i % 5 == 0:
            reg.remove(f"r{i}" if i % 4 == 0 else name)

dice = random.Random(int(sys.argv[3]))
for kill in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        work(kill * 1000)
        os._exit(0)
    time.sleep(dice.uniform(0.005, 0.2))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "it ended by itself"
    with Registry.open(sys.argv[1]) as reg:
        assert reg.verify() == [], reg.verify()
"""


def test_killed_at_random_moments(reg: Registry, python: Python, tensors: Callable[[bytes], bytes]) -> None:
    process = python(KILLED, reg.folder, KILLS, 5)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    said = {int(name[1:]) for name in output.split()}
    tasks = reg.tasks()
    assert len(said) > KILLS / 2
    # Said to be committed: it is there, unless the process went on to remove it.
    assert {number for number in said if number % 5} <= {int(task.name[1:]) for task in tasks}
    for task in tasks:
        for version in reg.versions(task.name):
            assert set(tensors(reg.read_adapter(version))) == {(int(task.name[1:]) + version.number - 1) % 256}
    reg.gc()
    assert reg.verify() == [] and reg.tasks() == tasks
    assert len(list((reg.folder / "adapters").iterdir())) == len(tasks)


STARVED = """
import os, resource, signal, sys
from conftest import make_adapter, make_new
from cl_ast.errors import RegistryError
from registry import Registry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
reg = Registry.open(sys.argv[1])
for limit in range(0, int(sys.argv[2]), 4096):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for change in (
        lambda: reg.commit("b", make_adapter(2, floats=50_000), make_new()),
        lambda: reg.commit("a", make_adapter(3, floats=50_000), make_new(), replace=True),
        lambda: reg.rename("a", "c"),
    ):
        try:
            change()
        except RegistryError as error:
            assert "space" in str(error) or "disk" in str(error), error
        else:
            raise AssertionError(f"wrote in spite of a limit of {limit} bytes")
print("done")
"""


def test_no_space_for_the_adapter(
    reg: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion], python: Python
) -> None:
    before = reg.commit("a", adapter(1, floats=50_000), new())
    process = python(STARVED, reg.folder, 50_000)
    output, errors = process.communicate(timeout=60)
    assert output == "done\n", errors
    assert reg.tasks() == [before] and reg.verify() == []
    assert list((reg.folder / "adapters").iterdir()) == [reg.adapter_path(before.version)]


STARVED_DATABASE = """
import resource, signal, sys
from conftest import make_adapter, make_new
from cl_ast.errors import RegistryError
from registry import Registry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
reg = Registry.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
kept = []
for i in range(1000):
    try:
        # The labels go into the database and, compactly, into the file: the database meets the limit first.
        reg.commit(f"t{i}", make_adapter(i), make_new(labels=tuple(f"label {k}" for k in range(500))))
        kept.append(f"t{i}")
    except RegistryError as error:
        print(kept, "|", error)
        break
"""


def test_no_space_for_the_database(reg: Registry, python: Python) -> None:
    process = python(STARVED_DATABASE, reg.folder)
    output, errors = process.communicate(timeout=60)
    assert "disk" in output or "space" in output, errors
    kept = [task.name for task in reg.tasks()]
    assert str(kept) == output.split(" | ")[0] and reg.verify() == []
    assert len(reg.gc().dropped) <= 1


WORKER = """
import sys
from conftest import TRUNK, make_adapter, make_new
from registry import Accuracy, Registry
reg = Registry.open(sys.argv[1])
reg.set_backbone(TRUNK)
for i in range(8):
    name = f"{sys.argv[2]}{i}"
    reg.commit(name, make_adapter(i), make_new(), [Accuracy(name, "oracle", 0.5, 4)])
    reg.tasks(), reg.matrix("oracle"), reg.gc(dry_run=True)
    if i % 2:
        reg.gc()
        reg.rename(name, name.upper() + "!")
"""


def test_processes_at_once_on_a_registry_that_none_has_made(tmp_path: Path, python: Python) -> None:
    place = tmp_path / "reg"
    processes = [python(WORKER, place, who) for who in "ab"]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with Registry.open(place) as reg:
        expected = {f"{who}{i}" if i % 2 == 0 else f"{who.upper()}{i}!" for who in "ab" for i in range(8)}
        assert {task.name for task in reg.tasks()} == expected
        assert reg.verify() == [] and reg.gc().dropped == () and len(reg.measurements()) == 16
        assert all(row[i] == 0.5 for i, row in enumerate(reg.matrix("oracle")))
