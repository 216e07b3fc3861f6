"""Where a backbone comes from, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ASTForAudioClassification, ASTModel, BertConfig, BertModel

from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import AST_BASE
from cl_ast.errors import BackboneError
from tests.cl_ast.conftest import Fresh, SaveModel

HUB_NAME = "MIT/ast-finetuned-audioset-10-10-0.4593"


@pytest.fixture
def folder(tmp_path: Path, save_backbone: SaveModel) -> Path:
    return save_backbone(tmp_path / "backbone")


@pytest.fixture
def change(folder: Path) -> Callable[[Callable[[dict[str, torch.Tensor]], object]], Path]:
    """change(edit): the checkpoint with its tensors edited in place."""

    def edit(how: Callable[[dict[str, torch.Tensor]], object]) -> Path:
        tensors = load_file(folder / "model.safetensors")
        how(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return edit


def _refused(name: str, *words: str) -> None:
    with pytest.raises(BackboneError) as caught:
        checkpoints.load(name)
    message = str(caught.value)
    assert "\n" not in message
    for word in (name, *words):
        assert word in message
    assert len(message.split()) > 5


def test_the_fingerprint_is_the_weights(folder: Path, backbone: Backbone, other_backbone: Backbone) -> None:
    assert checkpoints.load(str(folder)).fingerprint == backbone.fingerprint
    assert backbone.fingerprint != other_backbone.fingerprint
    assert len(backbone.fingerprint) == 64


def test_one_changed_number_is_another_fingerprint(backbone: Backbone, change: Callable[..., Path]) -> None:
    place = change(lambda tensors: tensors["encoder.layer.1.output.dense.bias"].view(-1)[3:4].add_(1e-4))
    assert checkpoints.load(str(place)).fingerprint != backbone.fingerprint


def test_attaching_changes_neither_the_fingerprint_nor_a_tensor(
    folder: Path, backbone: Backbone, fresh: Fresh, features: torch.Tensor
) -> None:
    model = fresh("bottleneck:houlsby")
    with backbone.attached(model.adapter):
        model.logits(features)
        assert Backbone(ASTModel.from_pretrained(folder), "again").fingerprint == backbone.fingerprint
        twin = Backbone(ASTModel.from_pretrained(folder), "again").tensors()
        assert all(torch.equal(tensor, twin[name]) for name, tensor in backbone.tensors().items())


def test_a_classification_checkpoint_as_on_the_hub_is_a_backbone(
    tmp_path: Path, save_backbone: SaveModel, backbone: Backbone
) -> None:
    place = save_backbone(tmp_path / "classifier", model=ASTForAudioClassification, num_labels=5)
    saved = load_file(place / "model.safetensors")
    loaded = checkpoints.load(str(place))
    prefix = "audio_spectrogram_transformer."
    assert any(name.startswith("classifier.") for name in saved)
    assert loaded.tensors().keys() == backbone.tensors().keys()
    assert torch.equal(loaded.tensors()["norm.weight"], saved[f"{prefix}layernorm.weight"])


def test_a_missing_tensor_is_refused_and_named(change: Callable[..., Path]) -> None:
    place = change(lambda tensors: tensors.pop("encoder.layer.0.intermediate.dense.weight"))
    _refused(str(place), "fc1.weight")


def test_a_tensor_too_many_is_refused_and_named(change: Callable[..., Path]) -> None:
    place = change(lambda tensors: tensors.update(surprise=torch.zeros(3)))
    _refused(str(place), "surprise")


def test_a_tensor_of_another_shape_is_refused(change: Callable[..., Path]) -> None:
    place = change(lambda tensors: tensors.update({"layernorm.weight": torch.ones(31)}))
    _refused(str(place))


def test_weights_that_are_no_safetensors_file_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"garbage" * 100)
    _refused(str(folder))


def test_weights_cut_short_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    _refused(str(folder))


def test_weights_that_are_not_numbers_are_refused(change: Callable[..., Path]) -> None:
    place = change(lambda tensors: tensors["layernorm.bias"].fill_(float("nan")))
    _refused(str(place), "norm.bias")


def test_a_backbone_of_another_kind_is_refused(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=50)
    BertModel(config).save_pretrained(tmp_path / "bert")
    _refused(str(tmp_path / "bert"))


def test_a_backbone_for_other_mel_bins_than_the_front_ends_is_refused(tmp_path: Path, save_backbone: SaveModel) -> None:
    _refused(str(save_backbone(tmp_path / "narrow", num_mel_bins=64)), "64", "128")


def test_a_folder_without_files_a_broken_configuration_and_a_file_are_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "nothing").mkdir()
    _refused(str(tmp_path / "nothing"))
    (folder / "config.json").write_text("{not json")
    _refused(str(folder))
    (tmp_path / "letter").write_text("hello")
    _refused(str(tmp_path / "letter"))


def test_an_unknown_word_is_refused_with_what_there_is() -> None:
    _refused("ast-gigantic", "ast-mini", "ast-base", "owner/model")


def test_a_hub_name_that_is_not_in_the_cache_is_refused_offline(empty_cache: Path) -> None:
    _refused("nobody/no-such-backbone")


# Sizes, short names and the default


def test_sizes_need_no_weights(folder: Path, backbone: Backbone) -> None:
    (folder / "model.safetensors").unlink()
    assert checkpoints.sizes(str(folder)) == (backbone.shape, backbone.parameters)


def test_sizes_of_the_short_names(empty_cache: Path) -> None:
    assert checkpoints.sizes("ast-base") == checkpoints.sizes(HUB_NAME) == (AST_BASE, 86_187_264)
    mini = checkpoints.load("ast-mini")
    assert checkpoints.sizes("ast-mini") == (mini.shape, mini.parameters)


def test_sizes_of_an_unknown_backbone_are_refused(tmp_path: Path, empty_cache: Path) -> None:
    for name in ("ast-gigantic", str(tmp_path)):
        with pytest.raises(BackboneError, match=r"no configuration of a backbone|no backbone called"):
            checkpoints.sizes(name)


@pytest.mark.slow
def test_ast_mini_is_always_the_same_and_leaves_the_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    first = checkpoints.load("ast-mini")
    torch.manual_seed(99)
    assert checkpoints.load("ast-mini").fingerprint == first.fingerprint
    torch.set_rng_state(state)
    checkpoints.load("ast-mini")
    assert torch.equal(torch.get_rng_state(), state)
    assert first.name == "ast-mini"
    with torch.inference_mode():
        tokens = first.run(first.embed(torch.zeros(1, 100, 128)))
    assert torch.isfinite(tokens).all()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of the test's own, with no network behind it."""
    cache = tmp_path / "hub"
    cache.mkdir()
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if hasattr(huggingface_hub.constants, name):
            monkeypatch.setattr(huggingface_hub.constants, name, str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache


def _put_into_cache(cache: Path, source: Path) -> None:
    """As the hub's own client lays it out: refs/main names a snapshot."""
    home = cache / f"models--{HUB_NAME.replace('/', '--')}"
    snapshot = home / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc123")
    for file in source.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())


def test_offline_the_default_is_ast_mini(empty_cache: Path) -> None:
    assert checkpoints.default_name() == "ast-mini"


def test_the_default_is_ast_base_where_the_cache_holds_it_and_it_loads_from_there(
    empty_cache: Path, folder: Path, backbone: Backbone
) -> None:
    _put_into_cache(empty_cache, folder)
    assert checkpoints.default_name() == "ast-base"
    loaded = checkpoints.load("ast-base")
    assert (loaded.name, loaded.fingerprint) == ("ast-base", backbone.fingerprint)


def test_a_cache_without_the_weights_is_none(empty_cache: Path, folder: Path) -> None:
    _put_into_cache(empty_cache, folder)
    next(empty_cache.rglob("model.safetensors")).unlink()
    assert checkpoints.default_name() == "ast-mini"


def test_two_backbones_that_differ_in_heads_alone_are_two(folder: Path, tmp_path: Path, backbone: Backbone) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_attention_heads": 1}))
    assert checkpoints.load(str(tmp_path)).fingerprint != backbone.fingerprint


def test_a_hub_that_does_not_answer_is_a_no(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []

    def fail(url: str, **_: Any) -> None:
        urls.append(url)
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    assert checkpoints.default_name() == "ast-mini"
    assert urls
    assert HUB_NAME in urls[0]
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: json)
    assert checkpoints.default_name() == "ast-base"
