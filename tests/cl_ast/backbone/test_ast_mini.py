"""The embedded backbone: the file the docs describe, in a format that anyone's transformers loads."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from transformers import ASTConfig, ASTModel

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "cl_ast" / "data" / "ast-mini"


@pytest.fixture(scope="module")
def loaded() -> tuple[ASTModel, dict[str, object]]:
    model, info = ASTModel.from_pretrained(FOLDER, dtype=torch.float32, output_loading_info=True)
    return model.eval(), info


def test_the_hash_in_the_docs_is_the_files() -> None:
    recorded = re.search(r"\b[0-9a-f]{64}\b", (ROOT / "docs" / "ast-mini.md").read_text(encoding="utf-8"))
    assert recorded is not None
    assert hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest() == recorded[0]


def test_it_is_at_most_six_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 6_000_000


def test_it_loads_with_plain_transformers_and_nothing_is_missing(
    loaded: tuple[ASTModel, dict[str, object]],
) -> None:
    model, info = loaded
    assert not any(info.values()), info
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_its_config_names_no_place_of_the_machine_it_was_made_on() -> None:
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    assert "_name_or_path" not in config
    assert ASTConfig.from_pretrained(FOLDER).num_mel_bins == 128


def test_its_features_are_finite_and_tell_clips_apart(loaded: tuple[ASTModel, dict[str, object]]) -> None:
    model, _ = loaded
    torch.manual_seed(0)
    clips = torch.randn(3, model.config.max_length, 128) * 0.5
    with torch.no_grad():
        out = model(clips).last_hidden_state
    assert torch.isfinite(out).all()
    summary = torch.cat([out.mean(1), out.std(1)], 1)
    assert float(torch.pdist(summary).min()) > 0.01
