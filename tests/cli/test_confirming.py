"""What removes asks on a terminal, a real one, and goes on without a question where there is none."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import Registry
from tests.cli.conftest import Run

pty = pytest.importorskip("pty")

Terminal = Callable[..., "tuple[int, str, str]"]
ENTER, CTRL_C, CTRL_D = "\n", "\x03", "\x04"


@pytest.fixture
def terminal(registry: Path, tmp_path: Path) -> Terminal:
    """terminal("y\\n", "remove", "tones"): exit code, what the terminal shows, and standard output, which is a file."""

    def run(typed: str, *words: str) -> tuple[int, str, str]:
        out, shown = tmp_path / "out", b""
        pid, descriptor = pty.fork()
        if not pid:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs the tests in the background ignores it
            os.dup2(os.open(out, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 1)
            script = "import cli; cli.main(prog_name='cl-ast')"
            os.execv(sys.executable, [sys.executable, "-P", "-c", script, "--registry", str(registry), *words])
        late = threading.Timer(60, os.kill, (pid, signal.SIGKILL))  # a read has no limit of its own
        late.start()
        try:
            while b"[y/N]" not in shown:
                shown += os.read(descriptor, 10_000)
            os.write(descriptor, typed.encode())
            while more := os.read(descriptor, 10_000):
                shown += more
        except OSError:  # the end, on Linux
            pass
        late.cancel()
        os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return code, shown.decode(), out.read_text()

    return run


def names(registry: Path) -> list[str]:
    with Registry.open(registry) as opened:
        return [task.name for task in opened.tasks()]


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["n\n", ENTER, "yess\n", CTRL_C, CTRL_D])
def test_anything_but_yes_changes_nothing(terminal: Terminal, registry: Path, typed: str) -> None:
    code, shown, out = terminal(typed, "remove", "tones")
    assert code == 1 and out == ""
    assert 'Remove task "tones": 1 version (' in shown and "`cl-ast undo`" in shown
    assert shown.splitlines()[-1] == "cl-ast: nothing was changed" and "Traceback" not in shown
    assert names(registry) == ["tones", "noises", "chirps"]


def test_yes_removes(terminal: Terminal, registry: Path) -> None:
    code, _, out = terminal("Yes\n", "remove", "TONES")
    assert (code, out) == (0, "TONES is removed\n") and names(registry) == ["noises", "chirps"]


def test_what_is_not_there_is_said_before_a_question(terminal: Terminal) -> None:
    code, shown, _ = terminal("", "remove", "tonse")
    assert code == 1 and "[y/N]" not in shown and 'did you mean "tones"?' in shown


@pytest.mark.slow
def test_gc_says_what_is_lost_and_asks_only_then(
    terminal: Terminal, registry: Path, cl: Run, data: Path, quick: list[object]
) -> None:
    code, shown, out = terminal("", "gc")
    assert (code, out) == (
        0,
        "0 files, 0 bytes moved to the trash; 0 files, 0 bytes deleted from the trash\n",
    ) and "[y/N]" not in shown
    cl("add-task", data / "tones", *quick, "--replace", "--seed", 9, "--no-eval").fine()
    said = cl("rollback", "tones").fine().out
    assert said == "tones answers with version 1 now\n`cl-ast gc` would move its other versions to the trash: 2\n"
    code, shown, out = terminal("n\n", "gc")
    assert code == 1 and out == ""
    assert "Move 1 file (" in shown and " kB) to the trash?" in shown
    assert len(list((registry / "adapters").glob("*.safetensors"))) == 4
    assert terminal("", "gc", "--dry-run")[0] == 0
    code, shown, _ = terminal("", "gc", "--yes")
    assert code == 0 and "[y/N]" not in shown
    assert len(list((registry / "adapters").glob("*.safetensors"))) == 3


@pytest.mark.slow
def test_rebuild_asks_before_it_replaces(terminal: Terminal, registry: Path) -> None:
    code, shown, _ = terminal("n\n", "rebuild")
    assert code == 1 and "Replace the database" in shown and "Measurements and rollbacks are lost" in shown
    assert list(registry.glob("registry.db.*")) == []
    (registry / "registry.db").write_bytes(b"damaged" * 1_000)
    code, shown, _ = terminal("n\n", "rebuild")
    assert code == 1 and (registry / "registry.db").read_bytes().startswith(b"damaged")
    assert terminal("y\n", "rebuild")[0] == 0
    for path in registry.glob("registry.db*"):
        path.unlink()
    code, shown, out = terminal("", "rebuild")
    assert code == 0 and "[y/N]" not in shown and "3 tasks" in out
    assert names(registry) == ["tones", "noises", "chirps"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [subprocess.DEVNULL, subprocess.PIPE, None])
def test_a_script_is_not_asked(registry: Path, how: int | None) -> None:
    """Neither without a terminal, nor with standard input closed, nor with a terminal as standard input alone."""
    code = "import cli; cli.main(prog_name='cl-ast')"
    command = [sys.executable, "-P", "-c", code, "--registry", str(registry), "remove", "tones"]
    close = None if how is not None else lambda: os.close(0)
    run = subprocess.run(command, stdin=how, capture_output=True, text=True, timeout=60, check=False, preexec_fn=close)
    assert (run.returncode, run.stdout) == (0, "tones is removed\n"), run.stderr
