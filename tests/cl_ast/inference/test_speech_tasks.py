"""Tasks over the relatives of Wav2Vec 2.0: learned and routed in a registry, and shared with users of peft."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import MethodError
from cl_ast.inference.prediction import Prediction
from cl_ast.manager import Manager
from cl_ast.training.options import TrainOptions
from tests.cl_ast.conftest import BackboneOf, Fresh, Randomise, RegistryOf, ToyTasks, commit_model

RELATIVES = ("hubert", "unispeech", "unispeech-sat", "data2vec-audio", "wavlm")
Exported = Callable[[Backbone, str], tuple[Path, Tensor]]


@pytest.fixture(scope="module")
def backbone(backbone_of: BackboneOf) -> Backbone:
    return backbone_of("wavlm")


@pytest.fixture
def guest(tmp_path: Path, registry_of: RegistryOf, backbone: Backbone) -> Manager:
    """An empty registry for WavLM."""
    return Manager(registry_of(tmp_path / "guest", backbone), device="cpu")


@pytest.mark.slow
def test_tasks_are_learned_and_routed_over_wavlm(
    tmp_path: Path, backbone_of: BackboneOf, toy_clips: list[Path], toy_tasks: ToyTasks
) -> None:
    """The layers of the others are those of Wav2Vec 2.0, over which test_wav2vec2_tasks.py does the same."""
    tones, noise = toy_tasks
    options = TrainOptions(epochs=1, batch_size=12)
    with Manager.open(tmp_path / "registry", backbone=backbone_of("wavlm-stable").name, device="cpu") as manager:
        manager.add_task(tones, method="conformer:r=2,k=3", options=options)
        manager.add_task(noise, method="lora:qv,r=2", options=options)
        found = [one for one in manager.predict(toy_clips) if isinstance(one, Prediction)]
        right = sum(one.task == ("noise" if number % 2 else "tones") for number, one in enumerate(found))
        assert right > 40  # of 48
        assert manager.stats()["metrics"]["oracle"]["forgetting"] == 0


@pytest.fixture
def exported(tmp_path: Path, registry_of: RegistryOf, fresh: Fresh, randomise: Randomise, features: Tensor) -> Exported:
    """exported(backbone, method): the folder of an exported task, and the task's logits."""

    def export(backbone: Backbone, method: str) -> tuple[Path, Tensor]:
        model = randomise(fresh(method, backbone=backbone))
        registry = registry_of(tmp_path / "home", backbone)
        commit_model(registry, "toy", model, backbone)
        return Manager(registry, device="cpu").export("toy", tmp_path / "out"), model.logits(features)

    return export


def _logits_by_peft(folder: Path, backbone: Backbone, features: Tensor) -> Tensor:
    peft = pytest.importorskip("peft")
    family = backbone.family
    stock = family.model_class().from_pretrained(backbone.name, attn_implementation=family.attention)
    theirs = peft.PeftModel.from_pretrained(stock, folder).eval()
    head = load_file(folder / "task.safetensors")
    with torch.inference_mode():
        logits: Tensor = theirs(features)[0].mean(dim=1) @ head["head.weight"].T + head["head.bias"]
    return logits


@pytest.mark.parametrize("kind", RELATIVES)
def test_peft_reads_a_lora_of_it(exported: Exported, backbone_of: BackboneOf, features: Tensor, kind: str) -> None:
    backbone = backbone_of(kind)
    method = "lora:ffn,r=2,s=0.7" + ("" if kind == "wavlm" else "+lora:qv,r=3,s=2")
    folder, expected = exported(backbone, method)
    torch.testing.assert_close(_logits_by_peft(folder, backbone, features), expected, rtol=0, atol=1e-5)
    mapping = json.loads((folder / "adapter_config.json").read_text())["auto_mapping"]
    stock = backbone.family.model_class()
    assert mapping == {"base_model_class": stock.__name__, "parent_library": stock.__module__}
    card = (folder / "README.md").read_text()
    assert backbone.family.title in card and f"{stock.__name__}.from_pretrained" in card


def test_a_lora_inside_the_attention_of_wavlm_is_not_exported_as_one_of_peft(
    exported: Exported, guest: Manager, backbone: Backbone, features: Tensor
) -> None:
    """peft would load it, and it would not act."""
    folder, expected = exported(backbone, "lora:qv,r=2")
    assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "CL_AST"
    guest.import_(folder)
    assert torch.equal(guest.model("toy").logits(features), expected)


def _lora_of_peft(folder: Path, backbone: Backbone, **options: Any) -> Any:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    stock = backbone.family.model_class().from_pretrained(backbone.name, attn_implementation="eager")
    model = peft.get_peft_model(stock, peft.LoraConfig(r=2, init_lora_weights=False, **options)).eval()
    model.save_pretrained(folder)
    facts = {"name": "theirs", "labels": ["dog", "rain"], "front_end": {"kind": "waveform", "samples": 9_600}}
    head = {"head.weight": torch.randn(2, 32), "head.bias": torch.randn(2)}
    save_file(head, folder / "task.safetensors", metadata={"cl_ast": json.dumps(facts)})
    return model, head


@pytest.mark.slow
def test_a_lora_of_peft_at_the_ffn_of_wavlm_imports_and_one_that_never_acted_is_refused(
    tmp_path: Path, guest: Manager, backbone: Backbone, features: Tensor
) -> None:
    model, head = _lora_of_peft(tmp_path / "ffn", backbone, target_modules=["intermediate_dense", "output_dense"])
    guest.import_(tmp_path / "ffn")
    with torch.inference_mode():
        expected = model(features)[0].mean(dim=1) @ head["head.weight"].T + head["head.bias"]
    torch.testing.assert_close(guest.model("theirs").logits(features), expected, rtol=0, atol=1e-5)
    model, _ = _lora_of_peft(tmp_path / "qv", backbone, target_modules=["q_proj", "v_proj"])
    with torch.inference_mode(), model.disable_adapter():
        plain = model(features)[0]
    assert torch.equal(model(features)[0], plain)  # it does nothing in peft
    with pytest.raises(MethodError, match=r"is at q, v, and the attention of WavLMModel"):
        guest.import_(tmp_path / "qv")
