"""What holds for every command: help, exit codes, standard output and error, where the registry is, speed of start."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import cli
from registry import Registry
from tests.cli.conftest import Run

COMMANDS = {
    *("add-task", "stream", "predict", "evaluate", "stats"),
    *("tasks", "show", "rename", "remove", "rollback", "verify", "gc", "rebuild", "undo", "backup", "methods", "demo"),
    *("doctor", "help"),
}
LEARNING = (
    "--method --backbone --epochs --batch-size --lr --fold --few-shot --max-seconds --seed --resume --replace --no-eval"
)
OPTIONS = {
    "add-task": f"{LEARNING} --data --name --format",
    "stream": f"{LEARNING} --data-root",
    "predict": "--task --top-k --window --hop --format",
    "evaluate": "--task",
    "stats": "--format --plot",
    "methods": "--backbone --format",
}
FORMATS = {
    "add-task": ["table", "json"],
    "predict": ["table", "json", "jsonl", "csv", "audacity"],
    "stats": ["table", "json", "csv"],
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_says_what_it_does_and_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(cli.main, [command, "--help"], prog_name="cl-ast")
    assert result.exit_code == 0
    assert re.search(rf"^\s*cl-ast {command}\b", result.stdout, re.MULTILINE)
    for option in OPTIONS.get(command, "").split():
        assert re.search(rf"{option}\b", result.stdout), option


@pytest.mark.parametrize("command", FORMATS)
def test_formats_of_the_contract(command: str) -> None:
    option = next(p for p in cli.main.commands[command].params if p.name == "kind")
    assert isinstance(option.type, click.Choice)
    assert set(FORMATS[command]) <= set(option.type.choices)
    assert option.default == "table"


def test_every_command_of_the_contract_is_there() -> None:
    assert set(cli.main.commands) >= COMMANDS
    assert all(command.help for command in cli.main.commands.values())


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["tasks", "--no-such-option"],
        ["tasks", "--format", "xml"],
        ["show"],
        ["add-task"],
        ["stream"],
        ["predict"],
        ["predict", "clip.wav", "--top-k", "0"],
        ["predict", "clip.wav", "--hop", "1"],
        ["rollback", "tones", "zero"],
        ["add-task", "tones", "--epochs", "none"],
        ["add-task", "tones", "--pooling", "max"],
        ["add-task", "tones", "--beta1", "2"],
        ["add-task", "tones", "--weight-decay", "-1"],
        ["evaluate", "--task", "tones"],
        ["--device", "abacus", "tasks"],
    ],
)
def test_wrong_usage_is_2_and_says_how(tmp_path: Path, words: list[str]) -> None:
    result = CliRunner().invoke(cli.main, ["--registry", str(tmp_path / "new"), *words], prog_name="cl-ast")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_done_is_1_in_one_line(cl: Run) -> None:
    cl("show", "noise").refused('"noises"', "tones")


def test_traceback_only_with_v(cl: Run) -> None:
    assert "Traceback" not in cl("show", "nothing").err
    answer = cl("-v", "show", "nothing")
    assert answer.code == 1
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("cl-ast: ")


def test_a_fault_of_ours_is_one_line_too(cl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Registry) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(Registry, "tasks", broken)
    answer = cl("tasks")
    assert answer.code == 1
    assert answer.err.splitlines() == [
        "cl-ast: unexpected ZeroDivisionError: by nought; run again with -v for the traceback"
    ]


def test_registry_from_the_environment_and_from_the_option(
    registry: Path, stages: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(*words: str) -> list[str]:
        result = CliRunner().invoke(cli.main, [*words, "tasks", "--format", "json"])
        return [task["name"] for task in json.loads(result.stdout)]

    monkeypatch.setenv("CL_AST_REGISTRY", str(registry))
    assert names() == ["tones", "noises", "chirps"]
    assert names("--registry", str(stages["tones"])) == ["tones"]


def test_registry_as_a_url(registry: Path, cl: Run, run: Run) -> None:
    assert run(f"sqlite:///{registry / 'registry.db'}", "tasks").out == cl("tasks").out != ""


def test_registry_is_in_the_user_data_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name: str(tmp_path / "share" / name))
    result = CliRunner().invoke(cli.main, ["tasks"])
    assert str(tmp_path / "share" / "cl-ast" / "registry") in result.stderr
    with Registry.open(tmp_path / "share" / "cl-ast" / "registry"):
        assert CliRunner().invoke(cli.main, ["tasks"]).exit_code == 0


def test_an_empty_registry_says_what_to_do(tmp_path: Path, run: Run) -> None:
    Registry.open(tmp_path / "new").close()
    for command in ("tasks", "stats"):
        assert "cl-ast add-task" in run(tmp_path / "new", command).fine().out
    assert run(tmp_path / "new", "tasks", "--format", "json").json == []


@pytest.mark.parametrize(
    "words",
    [
        ["tasks"], ["stats"], ["stats", "--format", "json"], ["verify"], ["gc"], ["gc", "--dry-run"], ["show", "birds"],
        ["predict", "clip.wav"], ["evaluate"], ["export", "birds", "out"], ["push", "birds", "me/birds"], ["route"],
        ["rename", "a", "b"], ["remove", "a"], ["rollback", "a"], ["undo", "--yes"], ["relearn", "--to", "other"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_place_without_a_registry_is_said_and_stays_empty(
    tmp_path: Path, run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "mispelt"
    run(place, "-q", *words).refused("there is no registry at", str(place), "cl-ast add-task", "--registry")
    assert not place.exists()
    assert not (tmp_path / "other").exists()
    place.mkdir()  # as where a disk is not mounted
    run(place, "-q", *words).refused("there is no registry at")
    assert list(place.iterdir()) == []


def test_help_is_also_a_command_and_what_no_word_shows() -> None:
    def shown(*words: str) -> str:
        result = CliRunner().invoke(cli.main, words, prog_name="cl-ast")
        assert (result.exit_code, result.stderr) == (0, ""), words
        return result.stdout

    assert shown() == shown("help") == shown("--help")
    assert shown("help", "predict") == shown("predict", "--help")


def test_what_was_mistyped_is_named_with_the_nearest_command() -> None:
    for words in (["predct"], ["help", "predct"]):
        result = CliRunner().invoke(cli.main, words, prog_name="cl-ast")
        assert result.exit_code == 2
        assert "'predct'. Did you mean 'predict'?" in result.stderr


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "cl_ast", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: cl-ast [OPTIONS] COMMAND")


def test_version() -> None:
    from importlib.metadata import version

    assert CliRunner().invoke(cli.main, ["--version"]).stdout.split()[-1] == version("cl-ast")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("commands", "heavy"),
    [
        ([["--help"], ["add-task", "--help"]], ["streams", "torch", "transformers", "numpy", "sqlalchemy", "rich"]),
        (
            [["tasks"], ["stats"], ["stats", "--format", "json"], ["show", "tones"], ["verify"], ["gc", "--dry-run"]],
            ["torch", "transformers", "matplotlib"],
        ),
    ],
    ids=["help", "listing"],
)
def test_starts_without_heavy_imports(registry: Path, commands: list[list[str]], heavy: list[str]) -> None:
    code = f"""
import sys, cli
for words in {commands}:
    try:
        cli.main(["--registry", {str(registry)!r}, *words], prog_name="cl-ast")
    except SystemExit as done:
        assert not done.code, words
print("loaded:", *({set(heavy)} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]


@pytest.mark.parametrize("command", sorted(cli.main.commands))
def test_help_fits_80_columns(command: str) -> None:
    out = CliRunner().invoke(cli.main, [command, "--help"], prog_name="cl-ast", terminal_width=80).stdout
    assert max(map(len, out.splitlines())) <= 80


def test_no_command_is_described_with_dots_at_80_columns() -> None:
    out = CliRunner().invoke(cli.main, ["--help"], prog_name="cl-ast", terminal_width=80).stdout
    rows = out.partition("Commands:\n")[2].splitlines()
    assert len(rows) == len(cli.main.commands)
    assert [row for row in rows if row.endswith("...")] == []
