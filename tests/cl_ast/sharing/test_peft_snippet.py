"""The way from an exported task into plain transformers and peft, as docs/registry.md shows it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from cl_ast.backbone import pretrained
from cl_ast.manager import Manager
from tests.cl_ast.conftest import Fresh, Randomise, RegistryOf, commit_model

PAGE = Path(__file__).parents[3] / "docs" / "registry.md"


def snippet() -> str:
    """Return the block of code of the page that follows "To peft"."""
    found = re.search(r"\*\*To peft\.\*\*.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def manager(tmp_path: Path, registry_of: RegistryOf, fresh: Fresh, randomise: Randomise, frames: int) -> Manager:
    """A manager whose one task, birds, is a LoRA over ast-mini in half precision."""
    backbone = pretrained.load("ast-mini")
    model = randomise(fresh("lora:qv,r=2", backbone=backbone, frames=frames, pooling=backbone.pooling))
    model.round("fp16")
    registry = registry_of(tmp_path / "registry", backbone)
    commit_model(registry, "birds", model, backbone, data_fingerprint="d" * 64, protocol="none")
    return Manager(registry, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("frames", [70, 256, 400])  # shorter, as long and longer than what ast-mini was trained on
@pytest.mark.parametrize("seconds", [1.3, 5.0])
def test_the_snippet_gives_the_logits_of_the_manager(
    manager: Manager, frames: int, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    manager.export("birds", "birds-adapter")
    noise = np.random.default_rng(0).normal(size=round(seconds * 16_000)).astype(np.float32)
    soundfile.write("clip.wav", 0.1 * noise, 16_000, subtype="FLOAT")
    names: dict[str, Any] = {}
    exec(compile(snippet(), str(PAGE), "exec"), names)
    expected = manager.logits([soundfile.read("clip.wav", dtype="float32")[0]], "birds")
    assert expected.abs().max() > 0.1
    assert torch.allclose(names["logits"], expected, atol=1e-4, rtol=0), (names["logits"], expected)
