"""The recipes in docs/deploy start `cl-ast serve` with options that it has."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from cl_ast.terminal.commands.serve import serve

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


def line(file: str, start: str) -> str:
    (found,) = [one for one in (DEPLOY / file).read_text().splitlines() if one.startswith(start)]
    return found.removeprefix(start)


def test_a_container_and_a_unit_demand_a_key_and_the_unit_waits_for_the_last_answer() -> None:
    container = json.loads(line("Containerfile", "ENTRYPOINT "))
    unit = shlex.split(line("cl-ast.service", "ExecStart="))
    for words in (container, unit):
        name, command, *options = words
        assert (Path(name).name, command) == ("cl-ast", "serve")
        given = serve.make_context("serve", options).params
        assert given["api_key_file"].name.endswith("keys")
    assert float(line("cl-ast.service", "TimeoutStopSec=")) >= given["drain"] + 5


def test_systemd_has_nothing_against_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    there = tmp_path / "cl-ast.service"
    there.write_text((DEPLOY / "cl-ast.service").read_text().replace("/opt/cl-ast/bin/cl-ast", "/bin/true"))
    found = subprocess.run(["systemd-analyze", "verify", str(there)], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
