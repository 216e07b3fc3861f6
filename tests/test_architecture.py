"""docs/architecture.md is true: its walks name functions that are there, its table lists every package."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`((?:cl_ast|registry|streams)(?:\.\w+)+)`", PAGE)))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_walk_names_is_there(name: str) -> None:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return
    pytest.fail(f"no module of {name}")


def test_both_walks_are_walked() -> None:
    assert len(NAMES) > 25


def test_the_table_lists_every_package_and_nothing_else() -> None:
    listed = set(re.findall(r"^\| `([\w/.]+)/?`(?:, `[\w.]+`)* \|", PAGE, re.MULTILINE))
    packages = {f"cl_ast/{path.parent.name}/" for path in (ROOT / "cl_ast").glob("*/__init__.py")}
    assert {one for one in listed if one.startswith("cl_ast/") and one.endswith("/")} == packages


def test_it_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 100
