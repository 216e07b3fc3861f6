"""The notebooks of examples/ run as they stand, but over a tiny backbone and with fewer clips."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ASTConfig, ASTModel

from tests.once import measured_once

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALL = {"CLIPS": 10, "EPOCHS": 1, "STEPS": 2}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = ASTConfig(**sizes, frequency_stride=16, time_stride=16, max_length=64)
    place = tmp_path_factory.mktemp("tiny")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ASTModel(config).save_pretrained(place)
    return place


def _cells(name: str) -> list[tuple[str, bool]]:
    """Return the code of each cell of a notebook, and whether it sets the parameters."""
    cells = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    return [("".join(cell["source"]), "parameters" in cell["metadata"].get("tags", ())) for cell in code]


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.ipynb")))
def test_a_notebook_runs(name: str, tiny: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "peft" in name:
        pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_AST_CACHE", str(tmp_path / "cache"))
    measured_once(shared, monkeypatch.setattr)
    names: dict[str, Any] = {}
    for source, sets_parameters in _cells(name):
        exec(compile(source, name, "exec"), names)
        if sets_parameters:
            wanted = {"BACKBONE": str(tiny), "STOCK": str(tiny), **SMALL}
            names |= {key: value for key, value in wanted.items() if key in names}
    assert any(os.scandir(tmp_path / "registry" / "adapters"))


def test_there_are_two_and_what_they_printed_is_kept() -> None:
    books = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(EXAMPLES.glob("*.ipynb"))]
    assert len(books) == 2
    for book in books:
        printing = [cell for cell in book["cells"] if "print(" in "".join(cell["source"])]
        assert printing and all(cell["outputs"] for cell in printing)
