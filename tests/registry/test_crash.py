"""Real processes, starved or at once: what was committed stays, and nothing is half there."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from places import Place, matrix

from registry import NewVersion, Registry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

Python = Callable[..., "subprocess.Popen[str]"]
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


@pytest.mark.slow
def test_no_space_for_the_adapter(
    place: Place, reg: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion], python: Python
) -> None:
    before = reg.commit("a", adapter(1, floats=50_000), new())
    process = python(STARVED, place.location, 50_000)
    output, errors = process.communicate(timeout=60)
    assert output == "done\n", errors
    assert reg.tasks() == [before] and reg.verify() == []
    assert place.files() == [place.file(before.version)]


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


@pytest.mark.slow
def test_no_space_for_the_database(local: Registry, python: Python) -> None:
    """SQLite's: a server's disk is not this process's to fill."""
    reg = local
    process = python(STARVED_DATABASE, local.place)
    output, errors = process.communicate(timeout=60)
    assert "disk" in output or "space" in output, errors
    kept = [task.name for task in reg.tasks()]
    assert str(kept) == output.split(" | ")[0] and reg.verify() == []
    assert len(reg.gc().dropped) <= 1


WORKER = """
import sys
from conftest import BACKBONE, make_adapter, make_new
from registry import Accuracy, Registry
reg = Registry.open(sys.argv[1])
reg.set_backbone(BACKBONE)
for i in range(8):
    name = f"{sys.argv[2]}{i}"
    reg.commit(name, make_adapter(i), make_new(), [Accuracy(name, "oracle", 0.5, 4)])
    reg.tasks(), reg.overview(), reg.gc(dry_run=True)
    if i % 2:
        reg.gc()
        reg.rename(name, name.upper() + "!")
"""


@pytest.mark.slow
@pytest.mark.nothing_made
def test_processes_at_once_on_a_registry_that_none_has_made(place: Place, python: Python) -> None:
    processes = [python(WORKER, place.location, who) for who in "ab"]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with Registry.open(place.location) as reg:
        expected = {f"{who}{i}" if i % 2 == 0 else f"{who.upper()}{i}!" for who in "ab" for i in range(8)}
        assert {task.name for task in reg.tasks()} == expected
        assert reg.verify() == [] and reg.gc().dropped == () and len(place.measured()) == 16
        assert all(row[i] == 0.5 for i, row in enumerate(matrix(reg)))
