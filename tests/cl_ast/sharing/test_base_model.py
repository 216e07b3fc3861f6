"""The model that a LoRA says it is for: the backbone's, another one, or a folder that may be either."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import MethodError
from cl_ast.manager import Manager
from cl_ast.progress import ClAstWarning
from cl_ast.sharing import base_model
from cl_ast.sharing.accept import known_backbone
from cl_ast.sharing.folder import read
from tests.cl_ast.conftest import RegistryOf

AST = "MIT/ast-finetuned-audioset-10-10-0.4593"
CACHED = "/home/ann/.cache/huggingface/hub/models--MIT--ast-finetuned-audioset-10-10-0.4593/snapshots/f826b80d/"


@pytest.mark.parametrize(
    ("stated", "backbone"),
    [
        (None, AST),
        ("", AST),
        (AST, AST),
        (AST, "ast-base"),
        ("ast-base", AST),
        (CACHED, "ast-base"),
        (AST, "/models/ast-finetuned-audioset-10-10-0.4593"),
        ("/content/ast-mini/", "ast-mini"),
        (r"C:\models\ast-mini", "ast-mini"),
        ("./ast-mini", "ast-mini"),
        ("checkpoints/ast-mini", "ast-mini"),
        ("/data/backbone", "/data/backbone"),
    ],
)
def test_the_same_model_is_no_reason_for_a_word(stated: str | None, backbone: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        base_model.check({"base_model_name_or_path": stated, "revision": None}, backbone)
        base_model.check({"base_model_name_or_path": stated, "revision": "main"}, backbone)


@pytest.mark.parametrize(
    ("stated", "backbone"),
    [
        ("facebook/wav2vec2-base", AST),
        ("facebook/wav2vec2-base", "ast-base"),
        ("MIT/ast-finetuned-speech-commands-v2", "ast-base"),
        (AST, "ast-mini"),
        ("ast-base", "ast-mini"),
        (CACHED, "ast-mini"),
        (CACHED.replace("/", "\\"), "facebook/wav2vec2-base"),
    ],
)
def test_another_model_of_the_hub_is_refused_by_name(stated: str, backbone: str) -> None:
    with pytest.raises(MethodError, match="base_model_name_or_path") as caught:
        base_model.check({"base_model_name_or_path": stated}, backbone)
    assert backbone in str(caught.value) and repr(stated) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "backbone"),
    [
        ({"base_model_name_or_path": "/content/model"}, "ast-mini"),
        ({"base_model_name_or_path": "/content/model"}, AST),
        ({"base_model_name_or_path": AST}, "/data/model"),
        ({"base_model_name_or_path": "bert-base-uncased"}, "ast-base"),
        ({"base_model_name_or_path": f"someone/{AST.partition('/')[2]}"}, "ast-base"),
        ({"base_model_name_or_path": AST, "revision": "refs/pr/3"}, "ast-base"),
    ],
)
def test_what_may_be_another_model_is_said(config: dict[str, Any], backbone: str) -> None:
    with pytest.warns(ClAstWarning, match="base_model_name_or_path") as caught:
        base_model.check(config, backbone)
    assert len(caught) == 1 and "\n" not in str(caught[0].message)


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(MethodError, match="no text"):
        base_model.check({"base_model_name_or_path": ["a/b"]}, "ast-mini")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A LoRA of one map, as peft writes it, for a model called someone/model."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    prefix = "base_model.model.layers.{}.attention.q_proj.lora_{}.weight"
    halves = {"A": torch.ones(2, 32), "B": torch.ones(32, 2)}
    tensors = {prefix.format(layer, side): half.clone() for layer in range(2) for side, half in halves.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "someone/model"}))
    return folder


def _describe(folder: Path, **more: object) -> None:
    facts = {"name": "theirs", "labels": ["dog", "rain"], "front_end": {"frames": 128}, **more}
    head = {"head.weight": torch.zeros(2, 32), "head.bias": torch.zeros(2)}
    save_file(head, folder / "task.safetensors", metadata={"cl_ast": json.dumps(facts)})


@pytest.fixture
def guest(tmp_path: Path, registry_of: RegistryOf, backbone: Backbone) -> Manager:
    return Manager(registry_of(tmp_path / "guest", backbone), device="cpu")


@pytest.mark.slow
def test_an_import_warns_and_a_fingerprint_says_more_than_a_name(guest: Manager, theirs: Path) -> None:
    _describe(theirs)
    with pytest.warns(ClAstWarning, match="someone/model"):
        guest.import_(theirs)
    _describe(theirs, backbone={"fingerprint": guest.session.backbone.fingerprint})
    with warnings.catch_warnings():
        warnings.simplefilter("error", ClAstWarning)
        guest.import_(theirs, replace=True)
    _describe(theirs, backbone={"fingerprint": "0" * 64})
    with pytest.raises(Exception, match="trained on the backbone"):
        guest.import_(theirs, replace=True)


def test_only_a_known_base_model_chooses_the_backbone_of_a_new_registry(theirs: Path) -> None:
    _describe(theirs)
    assert known_backbone(read(theirs)) is None
    config = json.loads((theirs / "adapter_config.json").read_text())
    for stated, short in ((AST, "ast-base"), ("ast-mini", "ast-mini"), ("/data/ast-mini", None), (["a"], None)):
        (theirs / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": stated}))
        assert known_backbone(read(theirs)) == short
