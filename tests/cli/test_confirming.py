"""What removes asks on a terminal, a real one, and goes on without a question where there is none."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import Registry
from tests.cli.conftest import Fork, Run, Start

pty = pytest.importorskip("pty")

Terminal = Callable[..., "tuple[int, str, str]"]
IN_ITS_TERMINAL = """
import fcntl, os, signal, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
settings = termios.tcgetattr(0)
settings[3] |= termios.NOFLSH  # else Ctrl-C throws away what is not read yet, and may come after the answer to it
termios.tcsetattr(0, termios.TCSANOW, settings)
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
ENTER, CTRL_C, CTRL_D = "\n", "\x03", "\x04"


@pytest.fixture
def terminal(registry: Path, tmp_path: Path, fork: Fork) -> Terminal:
    """terminal("y\\n", "remove", "tones"): exit code, what the terminal shows, and standard output, which is a file."""

    def run(typed: str, *words: str) -> tuple[int, str, str]:
        out, shown = tmp_path / "out", b""
        ours, its = pty.openpty()
        with out.open("w") as file:
            process = fork(registry, *words, first=IN_ITS_TERMINAL, stdin=its, stdout=file.fileno(), stderr=its)
        os.close(its)
        late = threading.Timer(60, process.kill)  # a read has no limit of its own
        late.start()
        try:
            while b"[y/N]" not in shown:
                shown += os.read(ours, 10_000)
            os.write(ours, typed.encode())
            while more := os.read(ours, 10_000):
                shown += more
        except OSError:  # the end, on Linux
            pass
        late.cancel()
        os.close(ours)
        return process.wait(), shown.decode(), out.read_text()

    return run


def names(registry: Path) -> list[str]:
    with Registry.open(registry) as opened:
        return [task.name for task in opened.tasks()]


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


@pytest.mark.parametrize("stdin", ["nothing", "a pipe", "a terminal"])
def test_a_script_is_not_asked(registry: Path, fork: Fork, stdin: str) -> None:
    """Neither without a terminal, nor with one as standard input alone."""
    if stdin == "a terminal":
        other_end, its = pty.openpty()
    else:
        its, other_end = os.pipe()
    script = fork(registry, "remove", "tones", stdin=None if stdin == "nothing" else its)
    os.close(its)
    assert (*script.communicate(), script.returncode) == ("tones is removed\n", "", 0)
    os.close(other_end)  # now, since a terminal without its other end is none


@pytest.mark.slow
def test_nobody_is_asked_with_standard_input_closed(registry: Path, process: Start) -> None:
    """In a process that the system starts: Python has no `sys.stdin` then."""
    script = process(registry, "remove", "tones", preexec_fn=lambda: os.close(0))
    assert (*script.communicate(timeout=60), script.returncode) == ("tones is removed\n", "", 0)
