"""Tasks over the relatives of Wav2Vec 2.0: learned and routed in a registry, and shared with users of peft."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import streams
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import MethodError
from cl_ast.inference.prediction import Prediction
from cl_ast.manager import Manager
from cl_ast.tasks.task_file import to_bytes
from cl_ast.training.options import TrainOptions
from registry import BackboneRecord, NewVersion, Registry
from tests.cl_ast.conftest import BackboneOf, Fresh, Randomise

RELATIVES = ("hubert", "unispeech", "unispeech-sat", "data2vec-audio", "wavlm")


def _manager(folder: Path, backbone: Backbone) -> Manager:
    registry = Registry.open(folder)
    # Its background is not measured, since nothing is routed: it would take seconds.
    record = BackboneRecord(backbone.name, backbone.fingerprint, backbone.parameters, backbone.bytes, b"background")
    registry.set_backbone(record)
    return Manager(registry, device="cpu")


@pytest.fixture(scope="module")
def backbone(backbone_of: BackboneOf) -> Backbone:
    return backbone_of("wavlm")


@pytest.mark.parametrize("kind", ["hubert", "wavlm-stable"])
def test_tasks_are_learned_and_routed_over_it(
    tmp_path: Path, backbone_of: BackboneOf, toy_clips: list[Path], kind: str
) -> None:
    for number, clip in enumerate(toy_clips):
        place = tmp_path / ("noise" if number % 2 else "tones") / f"class-{number // 2 % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / clip.name).write_bytes(clip.read_bytes())
    tones, noise = (streams.load(str(tmp_path / name)) for name in ("tones", "noise"))
    options = TrainOptions(epochs=1, batch_size=12)
    with Manager.open(tmp_path / "registry", backbone=backbone_of(kind).name, device="cpu") as manager:
        manager.add_task(tones, method="conformer:r=2,k=3", options=options)
        manager.add_task(noise, method="lora:qv,r=2", options=options)
        found = [one for one in manager.predict(toy_clips) if isinstance(one, Prediction)]
        right = sum(one.task == ("noise" if number % 2 else "tones") for number, one in enumerate(found))
        assert right > 40  # of 48
        assert manager.stats()["metrics"]["oracle"]["forgetting"] == 0


def _exported(
    tmp_path: Path, backbone: Backbone, fresh: Fresh, randomise: Randomise, features: Tensor, method: str
) -> tuple[Path, Tensor]:
    """Export a task, and return the folder and its logits."""
    model = randomise(fresh(method, backbone=backbone))
    manager = _manager(tmp_path / "home", backbone)
    labels, numbers = model.settings.labels, model.trainable_parameters()
    new = NewVersion(method=method, labels=labels, trainable_parameters=numbers, seed=0, seconds=1.0)
    manager.registry.commit("toy", to_bytes(model, backbone, {}, {}), new)
    folder = manager.export("toy", tmp_path / "out")
    return folder, model.logits(features)


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
def test_peft_reads_a_lora_of_it(
    tmp_path: Path, backbone_of: BackboneOf, fresh: Fresh, randomise: Randomise, features: Tensor, kind: str
) -> None:
    backbone = backbone_of(kind)
    method = "lora:ffn,r=2,s=0.7" + ("" if kind == "wavlm" else "+lora:qv,r=3,s=2")
    folder, expected = _exported(tmp_path, backbone, fresh, randomise, features, method)
    torch.testing.assert_close(_logits_by_peft(folder, backbone, features), expected, rtol=0, atol=1e-5)
    mapping = json.loads((folder / "adapter_config.json").read_text())["auto_mapping"]
    stock = backbone.family.model_class()
    assert mapping == {"base_model_class": stock.__name__, "parent_library": stock.__module__}
    card = (folder / "README.md").read_text()
    assert backbone.family.title in card and f"{stock.__name__}.from_pretrained" in card


def test_a_lora_inside_the_attention_of_wavlm_is_not_exported_as_one_of_peft(
    tmp_path: Path, backbone: Backbone, fresh: Fresh, randomise: Randomise, features: Tensor
) -> None:
    """peft would load it, and it would not act."""
    folder, expected = _exported(tmp_path, backbone, fresh, randomise, features, "lora:qv,r=2")
    assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "CL_AST"
    guest = _manager(tmp_path / "guest", backbone)
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


def test_a_lora_of_peft_at_the_ffn_of_wavlm_imports_and_one_that_never_acted_is_refused(
    tmp_path: Path, backbone: Backbone, features: Tensor
) -> None:
    guest = _manager(tmp_path / "guest", backbone)
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
