"""Real processes, starved or at once: what was committed stays, and nothing is half there."""

import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from forking import in_forks
from places import Place, matrix

from cl_ast.errors import RegistryError
from registry import Accuracy, BackboneRecord, NewVersion, Registry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

Make = Callable[..., bytes]
New = Callable[..., NewVersion]


def allow_files_of(limit: int) -> None:
    """Let this process write no file beyond so many bytes."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


@pytest.mark.slow
def test_no_space_for_the_adapter(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    def starved() -> None:
        own = Registry.open(place.location)
        changes: list[Callable[[], object]] = [
            lambda: own.commit("b", adapter(2, floats=50_000), new()),
            lambda: own.commit("a", adapter(3, floats=50_000), new(), replace=True),
            lambda: own.rename("a", "c"),
        ]
        for limit in range(0, 50_000, 4096):
            allow_files_of(limit)
            for change in changes:
                with pytest.raises(RegistryError, match=r"space|disk"):
                    change()

    before = reg.commit("a", adapter(1, floats=50_000), new())
    assert in_forks(starved) == [0]
    assert reg.tasks() == [before] and reg.verify() == []
    assert place.files() == [place.file(before.version)]


@pytest.mark.slow
def test_no_space_for_the_database(local: Registry, tmp_path: Path, adapter: Make, new: New) -> None:
    """SQLite's: a server's disk is not this process's to fill."""
    reg, kept = local, tmp_path / "kept"

    def starved() -> None:
        own = Registry.open(reg.place)
        allow_files_of(60_000)
        # The labels go into the database and, compactly, into the file: the database meets the limit first.
        labels = tuple(f"label {k}" for k in range(500))
        with kept.open("w") as out, pytest.raises(RegistryError, match=r"space|disk"):
            for i in range(1000):
                own.commit(f"t{i}", adapter(i), new(labels=labels))
                out.write(f"t{i} ")

    assert in_forks(starved) == [0]
    assert [task.name for task in reg.tasks()] == kept.read_text().split() and reg.verify() == []
    assert len(reg.gc().dropped) <= 1


@pytest.mark.slow
@pytest.mark.nothing_made
def test_processes_at_once_on_a_registry_that_none_has_made(
    place: Place, adapter: Make, new: New, backbone: BackboneRecord
) -> None:
    def work(who: str) -> None:
        reg = Registry.open(place.location)
        reg.set_backbone(backbone)
        for i in range(8):
            name = f"{who}{i}"
            reg.commit(name, adapter(i), new(), [Accuracy(name, "oracle", 0.5, 4)])
            reg.tasks(), reg.overview(), reg.gc(dry_run=True)
            if i % 2:
                reg.gc()
                reg.rename(name, name.upper() + "!")

    assert in_forks(partial(work, "a"), partial(work, "b")) == [0, 0]
    with Registry.open(place.location) as reg:
        expected = {f"{who}{i}" if i % 2 == 0 else f"{who.upper()}{i}!" for who in "ab" for i in range(8)}
        assert {task.name for task in reg.tasks()} == expected
        assert reg.verify() == [] and reg.gc().dropped == () and len(place.measured()) == 16
        assert all(row[i] == 0.5 for i, row in enumerate(matrix(reg)))
