"""The options of every command: before it or after it; a result in a file; a log of the work; completion in a shell."""

import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import cli
from cl_ast.backbone.device import pick_device
from cl_ast.errors import ClAstError
from registry import Registry
from tests.cli.conftest import Run


def names(*words: object) -> list[str]:
    answer = CliRunner().invoke(cli.main, [*map(str, words), "--format", "json"], prog_name="cl-ast")
    assert answer.exit_code == 0, answer.stderr
    return [task["name"] for task in json.loads(answer.stdout)]


def test_the_registry_may_be_named_after_the_command(
    registry: Path, stages: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names("tasks", "--registry", registry) == ["tones", "noises", "chirps"]
    assert names("--registry", registry, "tasks", "--registry", stages["tones"]) == ["tones"]
    monkeypatch.setenv("CL_AST_REGISTRY", str(stages["tones"]))
    assert names("--registry", registry, "tasks") == ["tones", "noises", "chirps"]  # the environment counts least
    assert names("tasks", "--registry", registry, "--device", "cpu") == ["tones", "noises", "chirps"]


def test_quiet_and_verbose_after_the_command(cl: Run) -> None:
    assert "measuring" in cl("evaluate", "tones").fine().err
    assert cl("evaluate", "tones", "-q").fine().err == ""
    assert "Traceback" in cl("show", "nothing", "-v").err


def test_help_of_a_command_says_so() -> None:
    out = CliRunner().invoke(cli.main, ["predict", "--help"]).stdout
    assert "--registry, --device, --log-file, -q and -v" in " ".join(out.split())


def test_a_gpu_by_its_number(cl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cl("tasks", "--device", "cuda:x").code == 2
    cl("-q", "evaluate", "--device", "cuda:1").refused("'cuda:1'", "--device cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ClAstError, match="cuda:0 to cuda:1"):
        pick_device("cuda:2")


def test_a_result_in_a_file(cl: Run, tmp_path: Path) -> None:
    place = tmp_path / "tasks.json"
    place.write_text("before")
    place.chmod(0o640)
    answer = cl("tasks", "--format", "json", "--output", place).fine()
    assert answer.out == ""
    assert place.read_text() == cl("tasks", "--format", "json").out
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.glob("*tasks*")] == ["tasks.json"]


def test_a_result_with_failures_is_a_result_and_an_error_is_none(cl: Run, data: Path, tmp_path: Path) -> None:
    place, broken = tmp_path / "out.csv", tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    words = ["predict", data / "tones" / "low" / "00.wav", broken, "--format", "csv", "--output", place]
    assert cl(*words).code == 1
    whole = place.read_text()
    assert len(whole.splitlines()) == 3
    cl("-q", *words, "--task", "none").refused("none")
    assert place.read_text() == whole
    cl("-q", "tasks", "--output", tmp_path / "no" / "such").refused("cannot be written", "another file")
    cl("-q", "tasks", "--output", tmp_path).refused("cannot be written")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(sys.platform == "win32", reason="there is another null device")
def test_a_device_is_written_and_not_replaced(cl: Run) -> None:
    cl("tasks", "--output", os.devnull).fine()
    assert not Path(os.devnull).is_file()


def test_a_log_file(cl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "log"
    cl("--log-file", place, "-q", "evaluate", "tones").fine()
    cl("show", "nothing", "--log-file", place).refused("nothing")
    lines = place.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ", line) for line in lines)
    said = [line.partition(" ")[2] for line in lines]
    assert re.fullmatch(r"cl-ast [\w.]+: evaluate", said[0])
    assert "measuring tones 4/4" in said and "done" in said
    assert said[-2].endswith(": show") and said[-1].startswith('cl-ast: no task "nothing"')

    def broken(self: Registry) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(Registry, "tasks", broken)
    assert "Traceback" not in cl("tasks", "--log-file", place).err
    assert "ZeroDivisionError: by nought" in place.read_text() and "Traceback" in place.read_text()
    cl("-q", "--log-file", tmp_path / "no" / "such", "tasks").refused("cannot be written", "--log-file")


@pytest.mark.parametrize(("line", "found"), [("cl-ast pre", "predict"), ("cl-ast predict --for", "--format")])
def test_a_shell_completes_commands_and_options(line: str, found: str) -> None:
    words = line.split()
    env = {"_CL_AST_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    answer = CliRunner().invoke(cli.main, [], prog_name="cl-ast", env=env)
    assert found in [one.partition(",")[2] for one in answer.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(shell: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert f"_CL_AST_COMPLETE={shell}_source" in page
    if shell != "bash":  # which must be there, in a release that click asks for
        env = {"_CL_AST_COMPLETE": f"{shell}_source"}
        assert "_CL_AST_COMPLETE" in CliRunner().invoke(cli.main, [], prog_name="cl-ast", env=env).stdout
