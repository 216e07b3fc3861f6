"""Tasks over Wav2Vec 2.0: from clips to answers, and out of a registry and in again."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Wav2Vec2Model

from cl_ast.audio.windows import Failure, Window
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError, RegistryError
from cl_ast.inference.prediction import Prediction
from cl_ast.manager import Manager
from cl_ast.training.options import TrainOptions
from cl_ast.training.recipes import recipe_for
from tests.cl_ast.conftest import BackboneOf, Fresh, Randomise, RegistryOf, SaveModel, ToyTasks, commit_model


@pytest.fixture(scope="module")
def backbone(wav2vec2: Backbone) -> Backbone:
    return wav2vec2


@pytest.fixture
def folder(tmp_path: Path, save_wav2vec2: SaveModel) -> Path:
    return save_wav2vec2(tmp_path / "backbone")


# Sharing


@pytest.fixture
def home(
    tmp_path: Path, registry_of: RegistryOf, backbone: Backbone, fresh: Fresh, randomise: Randomise
) -> Callable[[str], Manager]:
    """home(method): a manager whose one task, toy, was learned with that method."""

    def make(method: str) -> Manager:
        model = randomise(fresh(method, frames=60))
        registry = registry_of(tmp_path / "home", backbone)
        commit_model(registry, "toy", model, backbone)
        return Manager(registry, device="cpu")

    return make


@pytest.fixture
def guest(tmp_path: Path, registry_of: RegistryOf, backbone: Backbone) -> Manager:
    """An empty registry for the same backbone."""
    return Manager(registry_of(tmp_path / "guest", backbone), device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora:qkvo,r=3,s=0.7", "lora:q,r=2,s=3+lora:ffn,r=4,s=0.25", "conformer:r=2,k=3"])
def test_an_export_comes_back_exactly_and_peft_reads_a_lora(
    home: Callable[[str], Manager],
    guest: Manager,
    backbone: Backbone,
    stock: Any,
    tmp_path: Path,
    features: Tensor,
    method: str,
) -> None:
    manager = home(method)
    folder = manager.export("toy", tmp_path / "out")
    assert "Wav2Vec 2.0" in (folder / "README.md").read_text()
    guest.import_(folder)
    expected = manager.model("toy").logits(features)
    assert torch.equal(guest.model("toy").logits(features), expected)
    assert guest.model("toy").settings == manager.model("toy").settings
    if not method.startswith("lora"):
        return
    peft = pytest.importorskip("peft")
    theirs = peft.PeftModel.from_pretrained(Wav2Vec2Model.from_pretrained(backbone.name), folder).eval()
    head = load_file(folder / "task.safetensors")
    with torch.inference_mode():
        found = theirs(features)[0].mean(dim=1) @ head["head.weight"].T + head["head.bias"]
        plain = stock(features)[0].mean(dim=1) @ head["head.weight"].T + head["head.bias"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-2)  # the adapter does something


def _write_head(folder: Path, front_end: dict[str, Any]) -> dict[str, Tensor]:
    """What docs/registry.md tells a peft user to write."""
    head = {"head.weight": torch.randn(2, 32), "head.bias": torch.randn(2)}
    facts = {"name": "theirs", "labels": ["dog", "rain"], "front_end": front_end}
    save_file(head, folder / "task.safetensors", metadata={"cl_ast": json.dumps(facts)})
    return head


@pytest.mark.slow
def test_a_lora_of_peft_imports(guest: Manager, backbone: Backbone, tmp_path: Path, features: Tensor) -> None:
    peft = pytest.importorskip("peft")
    options = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "out_proj"], "init_lora_weights": False}
    torch.manual_seed(0)
    model = peft.get_peft_model(Wav2Vec2Model.from_pretrained(backbone.name), peft.LoraConfig(**options)).eval()
    model.save_pretrained(tmp_path / "theirs")
    for wrong in ({"frames": 128}, {"kind": "smell", "samples": 9_600}, {"kind": "waveform", "samples": "many"}):
        _write_head(tmp_path / "theirs", wrong)
        with pytest.raises(ClAstError):
            guest.import_(tmp_path / "theirs")
    assert guest.registry.tasks() == []
    head = _write_head(tmp_path / "theirs", {"kind": "waveform", "samples": 9_600})
    assert guest.import_(tmp_path / "theirs").version.method == "lora:qo,r=4,s=1.5"
    with torch.inference_mode():
        expected = model(features)[0].mean(dim=1) @ head["head.weight"].T + head["head.bias"]
        torch.testing.assert_close(guest.model("theirs").logits(features), expected, rtol=0, atol=1e-5)


# From clips to answers


def _answers(found: Iterable[Prediction | Failure]) -> list[Prediction]:
    """Return the predictions of clips, none of which may fail."""
    answers = []
    for one in found:
        assert isinstance(one, Prediction), one
        answers.append(one)
    return answers


@pytest.mark.slow
def test_tasks_are_learned_routed_and_measured_over_it(
    tmp_path: Path, backbone_folder: Path, folder: Path, toy_clips: list[Path], toy_tasks: ToyTasks
) -> None:
    tones, noise = toy_tasks
    options = TrainOptions(epochs=1, batch_size=6)
    step = [np.ones(4_800, dtype=np.float32)]
    with Manager.open(tmp_path / "registry", backbone=str(folder), device="cpu") as manager:
        manager.add_task(tones, method="conformer:r=2,k=3", options=options)
        learned = manager.add_task(noise, method="lora:qv,r=2", options=options)
        assert {one.task for one in learned.measured} == {"tones", "noise"}
        answers = _answers(manager.predict(toy_clips))
        assert {answer.task for answer in answers} == {"tones", "noise"}
        for clip, answer in zip(toy_clips, answers, strict=True):
            (named,) = _answers(manager.predict([clip], task=answer.task))
            assert [label for label, _ in answer.labels] == [label for label, _ in named.labels]
        windows = _answers(manager.predict([toy_clips[0]], task="tones", window=Window(0.2, 0.1)))
        assert [(one.start, one.end) for one in windows] == [(0.0, 0.2), (0.1, 0.3), (0.2, 0.3)]
        report = manager.stats()
        assert report["metrics"]["oracle"]["forgetting"] == 0
        assert report["backbone"]["parameters"] == manager.backbone.parameters
        logits = manager.logits(step, "tones")
    with Manager.open(tmp_path / "registry", device="cpu") as again:
        assert torch.equal(again.logits(step, "tones"), logits)
    # A registry keeps the backbone that it was made with.
    other = Manager.open(tmp_path / "registry", backbone=str(backbone_folder), device="cpu")
    with other, pytest.raises(RegistryError, match="is another"):
        other.add_task(tones, method="linear", options=options, replace=True)


def test_a_registry_of_an_ast_refuses_it(
    tmp_path: Path, registry_of: RegistryOf, backbone_of: BackboneOf, folder: Path
) -> None:
    registry_of(tmp_path / "ast", backbone_of("ast")).close()
    manager = Manager.open(tmp_path / "ast", backbone=str(folder), device="cpu")
    with manager, pytest.raises(RegistryError, match="is another"):
        assert manager.backbone


def test_the_recipe_of_a_data_set_brings_no_masks(backbone: Backbone, backbone_of: BackboneOf) -> None:
    recipe = recipe_for("esc50", backbone_of("ast"))
    assert recipe.time_mask and recipe.frequency_mask
    assert recipe_for("esc50", backbone) == replace(recipe, time_mask=0, frequency_mask=0)
