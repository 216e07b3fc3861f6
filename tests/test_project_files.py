"""What a public project owes its readers is there and says what the code says: licence, versions, workflow, walks."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import cl_ast

ROOT = Path(__file__).resolve().parents[1]


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _yaml(name: str) -> Any:
    return yaml.safe_load(_text(name))


def test_the_version_is_written_once_and_needs_no_torch() -> None:
    project = tomllib.loads(_text("pyproject.toml"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cl_ast.__version__"}
    code = "import sys, cl_ast; print(cl_ast.__version__, 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.split() == [cl_ast.__version__, "False"]


def test_the_changelog_and_the_citation_are_of_this_version() -> None:
    released = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", _text("CHANGELOG.md"), re.MULTILINE)
    assert released[0] == cl_ast.__version__ and released[-1] == "0.1.0"
    citation = _yaml("CITATION.cff")
    assert citation["version"] == cl_ast.__version__ and citation["license"] == "Apache-2.0"
    assert all(paper["title"] and paper["authors"] for paper in citation["references"])


def test_the_licence_is_apache_and_what_is_under_another_one_is_named() -> None:
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    assert project["license"] == "Apache-2.0" and "urls" not in project
    for name in project["license-files"]:
        assert (ROOT / name).is_file()
    assert "Apache License" in _text("LICENSE") and "END OF TERMS AND CONDITIONS" in _text("LICENSE")
    assert "CC BY-SA 4.0" in _text("cl_ast/pretrain/words.json")
    assert "cl_ast/pretrain/words.json" in _text("NOTICE") and "Attribution-ShareAlike 4.0" in _text("NOTICE")


def test_what_the_workflow_and_the_walks_call_make_knows() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", _text("Makefile"), re.MULTILINE))
    steps = [step.get("run", "") for job in _yaml(".github/workflows/ci.yml")["jobs"].values() for step in job["steps"]]
    called = {
        word for step in steps for words in re.findall(r"^make (.+)$", step, re.MULTILINE) for word in words.split()
    }
    called |= set(re.findall(r"^ {4}make ([a-z-]+)", _text("CONTRIBUTING.md"), re.MULTILINE))
    assert {"lint", "types", "docs", "coverage", "test", "install"} <= called <= targets


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`([\w.]+(?:/[\w.-]+)+/?)`", _text("CONTRIBUTING.md")))))
def test_what_a_walk_names_is_there(named: str) -> None:
    places = [ROOT, ROOT / "cl_ast" / "adapters", ROOT / "cl_ast" / "backbone"]
    assert any((place / named).exists() for place in places), named
