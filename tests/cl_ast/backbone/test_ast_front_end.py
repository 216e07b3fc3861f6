"""The numbers of a checkpoint's preprocessor_config.json: used for new tasks, and part of the backbone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import BackboneError, RegistryError
from cl_ast.inference.session import Session
from registry import BackboneRecord, Registry
from tests.cl_ast.conftest import SaveModel

# Registries of users hold this fingerprint.
MINI = "84b2a7801a99996ffc15934f6d250b1c0c0079844291b505220888c3bf40aca4"
AUDIOSET = LogMelFrontEnd(100)
COMMANDS: dict[str, Any] = {"mean": -6.845978, "std": 5.5654526, "max_length": 128}


@pytest.fixture
def folder(tmp_path: Path, save_backbone: SaveModel) -> Path:
    return save_backbone(tmp_path / "own")


def _load(folder: Path, **settings: Any) -> Backbone:
    """Load the checkpoint with a feature extractor as transformers saves it, after changes of the file."""
    ASTFeatureExtractor().save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return checkpoints.load(str(folder))


def _numbers(backbone: Backbone) -> tuple[float, float]:
    front_end = backbone.front_end(1.0)
    assert isinstance(front_end, LogMelFrontEnd) and front_end.frames == 100
    return front_end.mean, front_end.std


def test_the_fingerprint_of_ast_mini_never_changes() -> None:
    assert checkpoints.load("ast-mini").fingerprint == MINI


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_length": 128, "padding_value": 1.0, "return_attention_mask": True},
        {"mean": -4.267739295959473, "std": 4.568997383117676},  # the same numbers in single precision
    ],
)
def test_audiosets_numbers_change_no_fingerprint(folder: Path, backbone: Backbone, settings: dict[str, Any]) -> None:
    loaded = _load(folder, **settings)
    assert loaded.fingerprint == backbone.fingerprint
    assert _numbers(loaded) == _numbers(backbone) == (AUDIOSET.mean, AUDIOSET.std)


@pytest.mark.parametrize(
    "settings",
    [COMMANDS, {"mean": 0, "std": 1}, {"mean": -4.3}, {"std": 4.6}, {"do_normalize": False}],
)
def test_other_numbers_are_used_and_are_another_backbone(
    folder: Path, backbone: Backbone, settings: dict[str, Any]
) -> None:
    loaded = _load(folder, **settings)
    assert loaded.fingerprint != backbone.fingerprint
    assert loaded.had_fingerprint(backbone.fingerprint)
    assert loaded.fingerprint == checkpoints.load(str(folder)).fingerprint == loaded.copy().fingerprint
    clip = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    extractor = ASTFeatureExtractor.from_pretrained(folder, max_length=100)
    expected = extractor(clip, sampling_rate=16_000, return_tensors="pt")["input_values"]
    torch.testing.assert_close(loaded.front_end(1.0)([clip]), expected, rtol=1e-4, atol=1e-4)


def test_numbers_beside_one_another_in_a_processors_file_are_read(folder: Path) -> None:
    words = {"feature_extractor_type": "ASTFeatureExtractor", **COMMANDS}
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": words}))
    assert _numbers(checkpoints.load(str(folder))) == (COMMANDS["mean"], COMMANDS["std"])


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"std": 0}, "std"),
        ({"std": -1.0}, "std"),
        ({"mean": float("nan")}, "mean"),
        ({"mean": float("inf")}, "mean"),
        ({"mean": [-4.0, -5.0]}, "two numbers"),
        ({"mean": True}, "two numbers"),
        ({"mean": 10**400}, "two numbers"),
        ({"std": None}, "two numbers"),
        ({"num_mel_bins": 64}, "num_mel_bins 64"),
        ({"sampling_rate": 32_000}, "sampling_rate 32000"),
        ({"feature_extractor_type": "Wav2Vec2FeatureExtractor"}, "Wav2Vec2FeatureExtractor"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(folder: Path, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(BackboneError, match=word) as caught:
        _load(folder, **settings)
    assert str(folder) in str(caught.value) and "preprocessor_config.json" in str(caught.value)


@pytest.mark.parametrize("text", ["{not json", "[1]", "", '"text"', "null"])
def test_a_file_that_cannot_be_read_is_refused(folder: Path, text: str) -> None:
    (folder / "preprocessor_config.json").write_text(text)
    with pytest.raises(BackboneError, match="preprocessor_config"):
        checkpoints.load(str(folder))


@pytest.mark.slow
def test_a_registry_made_before_says_what_to_do(tmp_path: Path, folder: Path, backbone: Backbone) -> None:
    registry = Registry.open(tmp_path / "home")
    registry.set_backbone(BackboneRecord(str(folder), backbone.fingerprint, backbone.parameters, backbone.bytes, b""))
    assert Session(registry, device="cpu").backbone.fingerprint == backbone.fingerprint
    _load(folder, **COMMANDS)
    with pytest.raises(RegistryError, match="preprocessor_config") as caught:
        _ = Session(registry, device="cpu").backbone
    assert f"cl-ast relearn --to REGISTRY --backbone {folder}" in str(caught.value)
    _load(folder, mean=-4.0)
    with pytest.raises(RegistryError, match="relearn"):
        _ = Session(registry, device="cpu").backbone
