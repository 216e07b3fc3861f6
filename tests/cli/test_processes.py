"""What only a process of its own can show: Ctrl-C, a folder that cannot be written, a full disk."""

import os
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Fork, MakeFolder, Run, Unchanged
from tests.cli.forked import Forked

# A shell that runs tests in the background may have switched Ctrl-C off.
WITH_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
# Root may write anywhere, unless it gives that right up.
WITHOUT_ROOT_RIGHTS = """
import ctypes, os
if os.geteuid() == 0:
    CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER = 1, 2, 3
    VERSION_3 = 0x20080522
    libc = ctypes.CDLL(None, use_errno=True)
    whom, rights = (ctypes.c_uint32 * 2)(VERSION_3), (ctypes.c_uint32 * 6)()
    assert libc.capget(whom, rights) == 0, os.strerror(ctypes.get_errno())
    for kind in range(3):  # effective, permitted, inheritable
        rights[kind] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH | 1 << CAP_FOWNER)
    assert libc.capset(whom, rights) == 0, os.strerror(ctypes.get_errno())
"""


def with_largest_file(size: int) -> str:
    """Return code that lets no file grow beyond `size` bytes: what a full disk is to a program, but for the error."""
    return f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


def one_line(process: Forked) -> str:
    """Return the only line on standard error of a process that ended with 1."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, (out, err)
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("cl-ast: ")
    assert "unexpected" not in line
    return line


# Steps take so long that a signal comes in the middle of one.
SLOW_STEPS = f"""
{WITH_CTRL_C}
import time
from cl_ast.training.step import Steps
real = Steps.take
def take(*given):
    time.sleep(0.3)
    return real(*given)
Steps.take = take
"""
STOPPING = "stopping after this step and keeping the best weights; Ctrl-C again leaves, and keeps nothing"


def until(process: Forked, begin: str) -> str:
    """Return the next line on standard error that begins so."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(begin):
            return line
    pytest.fail(f"it ended without saying {begin!r}")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are sent another way")
def test_ctrl_c_twice_in_the_middle_of_training(
    registry: Path, fork: Fork, unchanged: Unchanged, run: Run, clips: MakeFolder, quick: list[object]
) -> None:
    words = ["add-task", clips(), *quick]
    with unchanged(registry):
        started = fork(registry, *words, "--epochs", 10, first=SLOW_STEPS)
        done, total = map(int, until(started, "training ").split()[1].split("/"))
        assert done < total / 2, "it was over before it could be stopped"
        started.send_signal(signal.SIGINT)
        until(started, STOPPING)
        started.send_signal(signal.SIGINT)
        _, rest = started.communicate(timeout=60)
    said = [line for line in rest.splitlines() if not line.startswith("training ")]
    assert started.returncode == 1
    assert said == ["cl-ast: stopped; the registry holds every finished task, and nothing half-written"]
    run(registry, *words).fine()
    run(registry, "verify").fine()
    assert [task["name"] for task in run(registry, "tasks", "--format", "json").json][-1] == "clips"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="permissions are another matter")
def test_a_registry_that_can_only_be_read(
    registry: Path, fork: Fork, unchanged: Unchanged, clips: MakeFolder, quick: list[object], data: Path
) -> None:
    folders = [registry, registry / "adapters"]
    with unchanged(registry):
        for folder in folders:
            folder.chmod(0o555)
        try:
            refused = fork(registry, "add-task", clips(), *quick, first=WITHOUT_ROOT_RIGHTS)
            removed = fork(registry, "-q", "remove", "tones", first=WITHOUT_ROOT_RIGHTS)
            reading = fork(registry, "-q", "predict", data / "tones" / "low" / "00.wav", first=WITHOUT_ROOT_RIGHTS)
            _, said = refused.communicate(timeout=120)
            assert "training" not in said, "it trained before it found out"
            for line in (said.splitlines()[-1], one_line(removed)):
                assert str(registry) in line
                assert "cannot be written" in line
            out, err = reading.communicate(timeout=120)
            assert (reading.returncode, err) == (0, "")
            assert "tones" in out
        finally:
            for folder in folders:
                folder.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="permissions are another matter")
def test_a_place_where_no_registry_can_be_made(tmp_path: Path, fork: Fork) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o555)
    try:
        line = one_line(fork(tmp_path / "locked" / "new", "import", tmp_path, first=WITHOUT_ROOT_RIGHTS))
        assert str(tmp_path / "locked" / "new") in line
    finally:
        (tmp_path / "locked").chmod(0o755)
    assert list((tmp_path / "locked").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="limits are another matter")
def test_a_disk_too_full_for_the_adapter(
    registry: Path, fork: Fork, unchanged: Unchanged, run: Run, clips: MakeFolder, quick: list[object]
) -> None:
    words = ["add-task", clips(), *quick, "--method", "bottleneck:r=512"]
    with unchanged(registry):
        started = fork(registry, *words, first=with_largest_file(100_000))
        _, said = started.communicate(timeout=120)
    assert started.returncode == 1
    assert "measuring clips" in said, "it did not come to the saving"
    line = said.splitlines()[-1]
    assert line.startswith(f"cl-ast: cannot write an adapter into {registry / 'adapters'}: no space is left")
    run(registry, "verify").fine()
    assert "0 files" in run(registry, "gc", "--dry-run").fine().out
    run(registry, *words).fine()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="limits are another matter")
def test_a_disk_too_full_for_the_database(
    tmp_path: Path, fork: Fork, run: Run, clips: MakeFolder, quick: list[object]
) -> None:
    """An empty database fits, and with a task, whose learning curve is long, it does not."""
    words = ["-q", "add-task", clips(), *quick, "--epochs", 100]
    line = one_line(fork(tmp_path / "new", *words, first=with_largest_file(88_000)))
    assert str(tmp_path / "new" / "registry.db") in line
    assert "space" in line
    assert run(tmp_path / "new", "tasks", "--format", "json").json == []
    run(tmp_path / "new", "gc").fine()  # at most a file that nothing names
    assert [path.name for path in (tmp_path / "new" / "adapters").iterdir()] == ["registry-id"]
    run(tmp_path / "new", *words).fine()
