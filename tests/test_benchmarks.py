"""The benchmarks still fit the library: each can be imported, and what costs nothing is run."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("__"))


@pytest.mark.parametrize("name", MODULES)
def test_it_can_be_imported(name: str) -> None:
    pytest.importorskip("sklearn", reason="some benchmarks need scikit-learn: pip install '.[bench]'")
    assert importlib.import_module(f"benchmarks.{name}")
