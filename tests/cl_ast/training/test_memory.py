"""How much memory is free: what the system says, and less where a container limits it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cl_ast.training.memory import free_memory, room

GIB = 2**30
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write("proc/meminfo", "text"): a file of a made-up system."""

    def make(place: str, text: str) -> None:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)

    make("proc/meminfo", "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\n")
    return make


def _free(root: Path) -> int:
    return free_memory(root / "proc", root / "cgroup")


def test_it_is_what_the_system_has_available(write: Write, tmp_path: Path) -> None:
    assert _free(tmp_path) == 8 * GIB
    write("proc/self/cgroup", "0::/user/a\n")
    write("cgroup/user/a/memory.max", "max\n")
    write("cgroup/user/a/memory.current", str(GIB))
    assert _free(tmp_path) == 8 * GIB


@pytest.mark.parametrize("group", ["", "user/", "user/a/"])
def test_a_control_group_or_one_around_it_limits_it(write: Write, tmp_path: Path, group: str) -> None:
    write("proc/self/cgroup", "0::/user/a\n")
    write(f"cgroup/{group}memory.max", str(4 * GIB))
    write(f"cgroup/{group}memory.current", str(3 * GIB))
    assert _free(tmp_path) == GIB
    write(f"cgroup/{group}memory.stat", f"anon 5\ninactive_file {2 * GIB}\n")  # it can be dropped at once
    assert _free(tmp_path) == 3 * GIB


def test_an_old_control_group_limits_it_too(write: Write, tmp_path: Path) -> None:
    write("proc/self/cgroup", "12:cpu,cpuacct:/job\n3:memory:/job\n")
    write("cgroup/memory/job/memory.limit_in_bytes", str(2 * GIB))
    write("cgroup/memory/job/memory.usage_in_bytes", str(3 * GIB))
    assert _free(tmp_path) == 0


def test_a_system_that_does_not_say_has_some(tmp_path: Path) -> None:
    assert 2**28 < _free(tmp_path) < 2**50


def test_a_set_of_clips_takes_a_part_of_it() -> None:
    assert 0 < room(torch.device("cpu")) < free_memory()
