"""How results look to a person in a terminal."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.cells import cell_len

from tests.cli.conftest import MakeFolder, Run
from tests.cli.forked import Forked

ODD = ":dog: [b]größer"

Terminal = Callable[..., list[str]]


@pytest.fixture
def terminal(cl: Run, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """terminal(80, "stats"): the lines as a terminal of that width shows them, without colours."""

    def show(width: int, *words: object) -> list[str]:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(width))
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", cl(*words).fine().out).splitlines()

    return show


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", [["tasks"], ["stats"], ["show", "noises"], ["methods"], ["evaluate"]])
def test_tables_fit_and_no_number_or_word_is_torn(terminal: Terminal, command: list[str], width: int) -> None:
    lines = terminal(width, *command)
    assert max(map(cell_len, lines)) <= width
    whole = {word for line in terminal(300, *command) for word in re.findall(r"[\w.-]+", line)}
    assert {word for line in lines for word in re.findall(r"[\w.-]+", line)} <= whole


@pytest.mark.slow
def test_a_pipe_gets_no_spaces_at_the_ends_of_lines(cl: Run) -> None:
    """They would fill lines of their own in a narrow pager."""
    for command in ("tasks", "stats", "doctor"):
        out = cl(command).fine().out
        assert out.endswith("\n") and [line for line in out.splitlines() if line != line.rstrip()] == []


def test_a_long_method_is_broken_after_its_commas(terminal: Terminal) -> None:
    lines = terminal(80, "tasks")
    (row,) = (number for number, line in enumerate(lines) if line.startswith("noises"))
    assert lines[row].split()[1] == "bottleneck:pfeiffer,"
    assert "mhsa," in "".join(lines[row + 1 : row + 4])
    assert re.search(r" [\d.]+ s +[\d.]+ kB .* \d{4}-\d\d-\d\d$", lines[row])  # a value and its unit stay whole


def test_a_note_below_a_clip_has_few_lines_in_a_narrow_column(terminal: Terminal, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "b.wav", np.sin(np.arange(6 * 16_000)), 16_000)
    lines = terminal(80, "predict", os.path.relpath(tmp_path / "b.wav"))
    note = [re.split(r"  +", line)[0] for line in lines if line.startswith(("joined", "windows"))]
    assert note in (["joined over 12", "windows of 0.5 s"], ["joined over 12 windows of 0.5 s"])
    assert max(map(cell_len, lines)) <= 80


@pytest.mark.slow
def test_names_and_paths_are_printed_as_they_are(
    cl: Run, registry: Path, clips: MakeFolder, quick: list[object], tmp_path: Path, data: Path
) -> None:
    folder = clips()
    (folder / "low").rename(folder / "[i]low :cat:")
    for command in (["add-task", folder, *quick, "--name", "plain"], ["rename", "plain", ODD]):
        cl(*command).fine()
    samples, rate = soundfile.read(data / "tones" / "low" / "00.wav")
    clip = tmp_path / "song [live] :cat:.wav"
    soundfile.write(clip, samples, rate)
    assert ODD in cl("tasks").fine().out
    assert ODD in cl("stats").fine().out
    assert "[i]low :cat:" in cl("show", ODD).fine().out
    out = cl("predict", clip, "--task", ODD).fine().out
    assert str(clip) in out
    assert "[i]low :cat:" in out


@pytest.mark.slow
def test_progress_of_a_task_with_an_odd_name(
    cl: Run, clips: MakeFolder, quick: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a terminal, where the name stands beside a bar."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    answer = cl("add-task", clips(), *quick, "--name", "[b]x :cat:").fine()
    assert "[b]x :cat:" in answer.err


@pytest.mark.slow
def test_a_name_is_broken_after_its_underscores_and_words_stay_whole(
    cl: Run, terminal: Terminal, clips: MakeFolder, quick: list[object]
) -> None:
    name, folder = "birds_of_my_garden_in_the_morning", clips()
    cl("add-task", folder, *quick, "--name", name).fine()
    path = re.compile("\n?".join(map(re.escape, str(folder))))  # is broken anywhere where it is wider than the terminal

    def words(lines: list[str]) -> set[str]:
        return set(re.findall(r"[^\W_]+_?", path.sub("", "\n".join(lines))))

    for command in (["tasks"], ["stats"], ["evaluate", name, "--details"]):
        lines = terminal(80, *command)
        assert max(map(cell_len, lines)) <= 80
        assert words(lines) <= words(terminal(400, *command))


def in_terminal(*words: object) -> list[str]:
    """Run a command in a real terminal of 80 columns; return the lines that it shows, without colours and bars."""
    pty = pytest.importorskip("pty")
    shown, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    process = Forked(*words, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    text = b""
    with suppress(OSError):  # the end, on Linux
        while more := os.read(shown, 10_000):
            text += more
    process.wait()
    os.close(shown)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.decode()).replace("\r", "\n").splitlines()


@pytest.mark.slow
def test_sentences_are_broken_at_spaces_in_a_terminal_and_nowhere_else(
    cl: Run, registry: Path, data: Path, quick: list[object], tmp_path: Path
) -> None:
    words = ["add-task", data / "tones", *quick, "--replace", "--no-eval", "--max-seconds", 0.3]
    lines = in_terminal("--registry", registry, "--device", "cpu", *words)
    assert max(map(cell_len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert re.search(r"tones: 2 classes; hears .* clips train, .* validate, .* test; ", text)  # progress
    assert re.search(r"tones trained in .*; \d+ parameters, [\d,]+ bytes", text)  # standard output
    warnings = [line for line in lines if "cl-ast: tones: " in line]  # given while there is a bar, and not in its line
    assert warnings and all(line.startswith("cl-ast: ") for line in warnings)
    place = tmp_path / ("a" * 90) / "b c"
    answer = cl("--registry", place, "tasks")
    (said,) = answer.err.splitlines()
    lines = [line for line in in_terminal("--registry", place, "tasks") if line]
    assert " ".join(lines) == said and len(lines) > 2
    assert [line for line in lines if len(line) > 80 and " " in line] == []
    lines = [line for line in in_terminal("tasks", "--format", "nothing " * 12) if line]  # click's sentence
    assert max(map(cell_len, lines)) <= 80 and lines[-1].endswith("'json'.")
