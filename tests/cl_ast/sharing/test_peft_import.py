"""LoRAs that the installed peft wrote compute here what they compute there, or are refused by name."""

import dataclasses
import json
import shutil
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ASTModel

from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError, MethodError
from cl_ast.sharing import peft_settings
from cl_ast.sharing.accept import accept
from cl_ast.sharing.folder import read, write
from cl_ast.tasks.task_file import StoredTask, to_bytes
from tests.cl_ast.conftest import SaveModel

peft = pytest.importorskip("peft")
LAYERS = 4
CLIPS = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(1))
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory, save_backbone: SaveModel) -> Backbone:
    """A backbone of four layers, named by its folder."""
    return checkpoints.load(str(save_backbone(tmp_path_factory.mktemp("deep"), num_hidden_layers=LAYERS)))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, deep: Backbone) -> Path:
    """A LoRA that peft wrote, with a head beside it."""
    folder = tmp_path_factory.mktemp("peft") / "theirs"
    write_lora(folder, deep)
    return folder


@pytest.fixture
def theirs(plain: Path, tmp_path: Path) -> Path:
    """A copy of it, which the test may change."""
    return shutil.copytree(plain, tmp_path / "theirs")


@cache
def _read_once(name: str) -> ASTModel:
    return ASTModel.from_pretrained(name)


def stock(backbone: Backbone) -> ASTModel:
    """Return the stock model, whose layers peft may change."""
    model = _read_once(backbone.name)
    return deepcopy(model, {id(model.config): model.config})


def _save(model: Any, folder: Path) -> None:
    """Save a model of peft without the card, which takes longest and is not read."""
    model.create_or_update_model_card = lambda _: None
    model.save_pretrained(folder)


def write_lora(folder: Path, backbone: Backbone, **options: Any) -> dict[str, Tensor]:
    """Write a LoRA with peft, with a head beside it, and return the head."""
    config = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, **options}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(stock(backbone), peft.LoraConfig(**config))
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name and config["init_lora_weights"] is not False:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        _save(model, folder)
    head = {"head.weight": torch.randn(2, 32, generator=generator), "head.bias": torch.randn(2, generator=generator)}
    facts = {"name": "theirs", "labels": ["dog", "rain"], "front_end": {"frames": 128}}
    save_file(head, folder / "task.safetensors", metadata={"cl_ast": json.dumps(facts)})
    return head


def write_adalora(folder: Path, backbone: Backbone, kept: Callable[[str], list[bool]] | None, **options: Any) -> Any:
    """Write an AdaLoRA with peft, with a head beside it, and return the head.

    Args:
        kept: which triplets are left of the map of a name; None where none was given up.
    """
    head = write_lora(folder, backbone)
    config = {"init_r": 4, "target_r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], "total_step": 9}
    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(stock(backbone), peft.AdaLoraConfig(**config | options))
        pattern = {}
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.5)
            if "lora_E" in name and kept is not None:
                pattern[name.removeprefix("base_model.model.")] = kept(name)
                parameter.mul_(torch.tensor(kept(name)).unsqueeze(1))
        model.peft_config["default"].rank_pattern = pattern or None
        _save(model, folder)
    return head


def edit(folder: Path, **changed: Any) -> Path:
    """Change entries of adapter_config.json."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return folder


def rename(folder: Path, *pairs: tuple[str, str]) -> Path:
    """Change parts of the names of the LoRA's tensors."""
    tensors = load_file(folder / "adapter_model.safetensors")
    named = {}
    for name, tensor in tensors.items():
        for old, new in pairs:
            name = name.replace(old, new)
        named[name] = tensor
    save_file(named, folder / "adapter_model.safetensors")
    return folder


def expected(folder: Path, backbone: Backbone, head: dict[str, Tensor]) -> Tensor:
    """What peft computes with the folder, after the head."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        model = peft.PeftModel.from_pretrained(stock(backbone), folder).eval()
        tokens: Tensor = model(CLIPS)[0]
        return tokens.mean(dim=1) @ head["head.weight"].float().T + head["head.bias"].float()


def imported(folder: Path, backbone: Backbone) -> StoredTask:
    return accept(read(folder), backbone, None)[0]


def found(folder: Path, backbone: Backbone) -> Tensor:
    with torch.inference_mode():
        return imported(folder, backbone).model.logits(CLIPS)


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kept",
    [
        None,
        lambda name: [True, False, True, "q_proj" in name],
        lambda name: ["layers.1." not in name, "layers.2." in name, False, False],
    ],
    ids=["all triplets", "another rank at each map", "no rank at some maps"],
)
def test_an_adalora_computes_what_peft_computes(
    deep: Backbone, tmp_path: Path, kept: Callable[[str], list[bool]] | None
) -> None:
    head = write_adalora(tmp_path, deep, kept, use_rslora=True, alpha_pattern={"q_proj": 3})  # peft reads neither
    same(found(tmp_path, deep), expected(tmp_path, deep, head))
    assert imported(tmp_path, deep).model.settings.method.text.startswith("lora:qv,r=")


def test_an_adalora_that_contradicts_itself_is_refused(deep: Backbone, tmp_path: Path) -> None:
    write_adalora(tmp_path, deep, None)
    for wrong in ({"init_r": 0}, {"lora_alpha": -1}, {"init_r": "4"}):
        before = json.loads((tmp_path / "adapter_config.json").read_text())
        with pytest.raises(MethodError, match="an init_r and a lora_alpha above 0"):
            read(edit(tmp_path, **wrong))
        edit(tmp_path, **before)
    rename(tmp_path, ("layers.1.attention.q_proj.lora_E", "layers.1.attention.q_proj.lora_X"))
    with pytest.raises(MethodError, match=r"lacks one of the tensors of .*layers\.1\.attention\.q_proj"):
        read(tmp_path)


HONOURED: dict[str, dict[str, Any]] = {
    "plain": {},
    "alpha of one layer": {"alpha_pattern": {"layers.0.attention.q_proj": 64}},
    "alpha by a regular expression": {"alpha_pattern": {r"layers\.[12]\.attention\.(q|v)_proj": 50}},
    "alpha of a whole layer": {"alpha_pattern": {r"layers\.3\..*": 50}},
    "the first key counts": {"alpha_pattern": {"q_proj": 1, "layers.0.attention.q_proj": 64, ".*": 9}},
    "the first key counts, the other way round": {"alpha_pattern": {"layers.0.attention.q_proj": 64, "q_proj": 1}},
    "anchored": {"alpha_pattern": {"^layers.2.attention.v_proj": 40}},
    "a dot is any character": {"alpha_pattern": {"layers.1.attention.q.proj": 33}},
    "rank of one layer": {"rank_pattern": {"layers.1.attention.v_proj": 7}},
    "ranks by a regular expression": {"rank_pattern": {r"layers\.(0|3)\..*": 1, "v_proj": 9}},
    "rank and alpha, rank-stabilised": {
        "rank_pattern": {"layers.2.attention.q_proj": 9},
        "alpha_pattern": {"v_proj": 11},
        "use_rslora": True,
    },
    "alpha that is negative or zero": {"alpha_pattern": {"layers.0.attention.q_proj": -6, "v_proj": 0}},
    "all alphas negative": {"lora_alpha": -6},
    "every linear map": {"target_modules": "all-linear", "rank_pattern": {r"mlp\.fc1": 2, r"layers.1.mlp.fc2": 6}},
    "a regular expression as target": {"target_modules": r"layers\.[13]\.attention\.[qo]_proj"},
    "full names as targets": {"target_modules": ["layers.1.attention.k_proj", "layers.3.attention.o_proj", "v_proj"]},
    "layers_to_transform": {"layers_to_transform": [1, 3], "layers_pattern": "layers"},
    "one layer to transform": {"layers_to_transform": 2, "layers_pattern": ["h", "layers"]},
    "layers_to_transform leaves a full name": {
        "target_modules": ["q_proj", "layers.3.attention.v_proj"],
        "layers_to_transform": [0],
        "layers_pattern": "layers",
    },
    "exclude_modules": {"exclude_modules": ["layers.0.attention.q_proj", "layers.2.attention.v_proj"]},
    "exclude_modules by a regular expression": {"exclude_modules": r"layers\.[02]\..*"},
    "FFN of some layers": {
        "target_modules": ["fc1", "fc2"],
        "exclude_modules": ["layers.2.mlp.fc1", "layers.0.mlp.fc2", "layers.0.mlp.fc1"],
    },
    "final LayerNorm": {"modules_to_save": ["layernorm"], "alpha_pattern": {"layers.0.attention.q_proj": 64}},
    "dropout": {"lora_dropout": 0.5},
    "DoRA": {"use_dora": True, "alpha_pattern": {"layers.0.attention.q_proj": 64}, "rank_pattern": {"v_proj": 7}},
    "DoRA of the FFN": {"use_dora": True, "target_modules": ["fc1", "fc2", "q_proj"]},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "mica": {"init_lora_weights": "mica"},
    "a target that is not there": {"target_modules": ["q_proj", "query", "nowhere"]},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HONOURED)
def test_a_lora_computes_what_peft_computes(tmp_path: Path, deep: Backbone, name: str) -> None:
    head = write_lora(tmp_path / "theirs", deep, **HONOURED[name])
    same(found(tmp_path / "theirs", deep), expected(tmp_path / "theirs", deep, head))


def test_what_differs_from_layer_to_layer_is_one_method(tmp_path: Path, deep: Backbone) -> None:
    write_lora(
        tmp_path / "theirs",
        deep,
        target_modules=["q_proj", "v_proj", "fc1", "fc2"],
        exclude_modules=["layers.0.attention.v_proj"],
        rank_pattern={"layers.1.attention.q_proj": 8},
        alpha_pattern={"layers.2.mlp.fc1": 60},
    )
    task = imported(tmp_path / "theirs", deep)
    assert task.model.settings.method.text == "lora:v,r=4,s=1.5,from=1+lora:ffn,r=4,s=15+lora:q,r=8,s=1.5"


def test_it_goes_back_to_peft(tmp_path: Path, deep: Backbone) -> None:
    """One rank and one scale for all layers are written, and peft computes the same with them."""
    head = write_lora(
        tmp_path / "theirs",
        deep,
        layers_to_transform=[1, 3],
        layers_pattern="layers",
        rank_pattern={"layers.1.attention.q_proj": 8},
        alpha_pattern={"layers.3.attention.v_proj": -60},
    )
    task = imported(tmp_path / "theirs", deep)
    words = {"seed": 1, "seconds": 1.0, "source": {}}
    folder = write(tmp_path / "out", to_bytes(task.model, deep, words, {}), auto=None)
    logits = expected(tmp_path / "theirs", deep, head)
    same(expected(folder, deep, load_file(folder / "task.safetensors")), logits)
    same(found(folder, deep), logits)


def test_a_dora_goes_back_to_peft(tmp_path: Path, deep: Backbone) -> None:
    head = write_lora(tmp_path / "theirs", deep, use_dora=True, rank_pattern={"v_proj": 7})
    task = imported(tmp_path / "theirs", deep)
    assert task.model.settings.method.text == "dora:q,r=4,s=1.5+dora:v,r=7,s=" + repr(6 / 7)
    folder = write(
        tmp_path / "out", to_bytes(task.model, deep, {"seed": 1, "seconds": 1.0, "source": {}}, {}), auto=None
    )
    logits = expected(tmp_path / "theirs", deep, head)
    same(expected(folder, deep, load_file(folder / "task.safetensors")), logits)
    same(found(folder, deep), logits)


def test_a_dora_that_leaves_out_a_layer_is_refused(tmp_path: Path, deep: Backbone) -> None:
    write_lora(tmp_path / "theirs", deep, use_dora=True, layers_to_transform=[1, 3], layers_pattern="layers")
    with pytest.raises(MethodError, match="has none at q of layer 2"):
        imported(tmp_path / "theirs", deep)


_KEYS = st.sampled_from([
    "q_proj", "v_proj", "attention.k_proj", "layers.0.attention.q_proj", "layers.3.mlp.fc1", "fc2", r"layers\.[01]\..*",
    r".*\.2\.attention\..*", r"(layers\.1|layers\.2)\.attention\.(q|v)_proj", "mlp.fc.", "^layers.3.attention.o_proj",
])  # fmt: skip


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    targets=st.sets(st.sampled_from(["q_proj", "k_proj", "v_proj", "o_proj", "mlp"]), min_size=1),
    rank=st.integers(1, 6),
    alpha=st.integers(-20, 40),
    ranks=st.dictionaries(_KEYS, st.integers(1, 9), max_size=3),
    alphas=st.dictionaries(_KEYS, st.integers(-20, 80), max_size=3),
    excluded=st.sets(st.sampled_from(["layers.0.attention.q_proj", "layers.1.attention.v_proj", "layers.2.mlp.fc1"])),
    layers=st.none() | st.sets(st.integers(0, LAYERS - 1), min_size=1),
    stabilised=st.booleans(),
)
def test_any_patterns_compute_what_peft_computes(
    tmp_path_factory: pytest.TempPathFactory,
    deep: Backbone,
    targets: set[str],
    rank: int,
    alpha: int,
    ranks: dict[str, int],
    alphas: dict[str, int],
    excluded: set[str],
    layers: set[int] | None,
    stabilised: bool,
) -> None:
    folder = tmp_path_factory.mktemp("theirs")
    names = sorted(targets - {"mlp"}) + (["fc1", "fc2"] if "mlp" in targets else [])
    options = {"target_modules": names, "r": rank, "lora_alpha": alpha, "rank_pattern": ranks, "alpha_pattern": alphas}
    where = {} if layers is None else {"layers_to_transform": sorted(layers), "layers_pattern": "layers"}
    try:
        head = write_lora(folder, deep, **options, **where, exclude_modules=sorted(excluded), use_rslora=stabilised)
    except ValueError:  # nothing is left to update, which peft refuses
        return
    if not any(".fc1." in name for name in load_file(folder / "adapter_model.safetensors")) and "mlp" in targets:
        return  # the one FFN of layer 2 lost a map, which cl-ast refuses
    try:
        logits = expected(folder, deep, head)
    except RuntimeError:  # peft sorts the keys when it saves, and then finds other ranks than it wrote
        with pytest.raises(MethodError, match="and its tensors have rank"):
            imported(folder, deep)
        return
    # The rounding errors of a delta grow with its factor, and so does what may differ.
    largest = max(1, *map(abs, (alpha, *alphas.values())))
    torch.testing.assert_close(found(folder, deep), logits, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", ["target_modules", "exclude_modules", "layers_pattern", "rank_pattern", "alpha_pattern"]
)
@pytest.mark.parametrize(
    "pattern", ["(.*)*X", "((a|a)+)+$", "(?x)(.+) *X", ".*.*.*.*.*.*.*.*X", "[a-z." * 2_000, "(" * 900]
)
def test_no_pattern_takes_long(theirs: Path, deep: Backbone, where: str, pattern: str) -> None:
    value = {pattern: 4} if where in ("rank_pattern", "alpha_pattern") else pattern
    edit(theirs, **{where: value})
    if where == "layers_pattern":
        edit(theirs, layers_to_transform=[1])
    started = time.perf_counter()
    with pytest.raises(MethodError, match="pattern"):
        imported(theirs, deep)
    assert time.perf_counter() - started < 2


# Types and names of tensors


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_read(tmp_path: Path, deep: Backbone, dtype: torch.dtype) -> None:
    head = write_lora(tmp_path / "theirs", deep, alpha_pattern={"layers.0.attention.q_proj": 64})
    path = tmp_path / "theirs" / "adapter_model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path)
    same(found(tmp_path / "theirs", deep), expected(tmp_path / "theirs", deep, head))
    numbers = {name: tensor.float() for name, tensor in load_file(path).items()}
    b = imported(tmp_path / "theirs", deep).model.state()["layers.1.v.parallel.lora.b"]
    assert torch.equal(b, numbers["base_model.model.layers.1.attention.v_proj.lora_B.weight"])  # exactly


def test_a_head_in_bf16_is_read(theirs: Path, deep: Backbone) -> None:
    head = {name: tensor.bfloat16() for name, tensor in load_file(theirs / "task.safetensors").items()}
    facts = {"name": "theirs", "labels": ["dog", "rain"], "front_end": {"frames": 128}}
    save_file(head, theirs / "task.safetensors", metadata={"cl_ast": json.dumps(facts)})
    same(found(theirs, deep), expected(theirs, deep, head))


def test_whole_numbers_are_refused(theirs: Path, deep: Backbone) -> None:
    path = theirs / "adapter_model.safetensors"
    save_file({name: tensor.to(torch.int32) for name, tensor in load_file(path).items()}, path)
    with pytest.raises(MethodError, match="int32"):
        imported(theirs, deep)


OLD_NAMES = (
    ("model.layers.", "model.encoder.layer."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ({}, {"target_modules": ["query", "value"]}),
        ({"alpha_pattern": {"layers.0.attention.q_proj": 64}}, {
            "target_modules": ["query", "value"],
            "alpha_pattern": {"encoder.layer.0.attention.attention.query": 64},
        }),
        ({"target_modules": ["o_proj", "fc1", "fc2"]}, {"target_modules": ["dense"]}),
        ({"target_modules": ["o_proj", "fc1", "fc2"], "rank_pattern": {"fc2": 2, "o_proj": 3}}, {
            "target_modules": ["dense"],
            "rank_pattern": {"attention.output.dense": 3, "output.dense": 2},
        }),
        ({"target_modules": "all-linear"}, {"target_modules": "all-linear"}),
        # In transformers 4 peft found the layer's number without a layers_pattern.
        ({"layers_to_transform": [1, 2], "layers_pattern": "layers"}, {
            "target_modules": ["query", "value"],
            "layers_pattern": None,
        }),
        # Only the names of tensors are old.
        ({"alpha_pattern": {"layers.0.attention.q_proj": 64}}, {}),
    ],
)  # fmt: skip
def test_the_names_of_transformers_4_are_read(
    tmp_path: Path, deep: Backbone, new: dict[str, Any], old: dict[str, Any]
) -> None:
    head = write_lora(tmp_path / "theirs", deep, **new)
    logits = expected(tmp_path / "theirs", deep, head)
    rename(edit(tmp_path / "theirs", **old), *OLD_NAMES)
    assert "base_model.model.encoder.layer.1" in str(list(load_file(tmp_path / "theirs" / "adapter_model.safetensors")))
    same(found(tmp_path / "theirs", deep), logits)


def test_the_names_of_two_releases_are_not_mixed(theirs: Path, deep: Backbone) -> None:
    rename(theirs, ("model.layers.1.attention.q_proj", "model.encoder.layer.1.attention.attention.query"))
    with pytest.raises(MethodError, match="two releases"):
        imported(theirs, deep)


# Settings


def test_every_setting_of_the_installed_peft_is_known() -> None:
    names = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    known = peft_settings.READ | peft_settings.IGNORED | peft_settings.REFUSED
    assert names <= known, f"decide about {names - known}"
    assert not peft_settings.READ & peft_settings.IGNORED | peft_settings.READ & peft_settings.REFUSED


REFUSED: dict[str, dict[str, Any]] = {
    "lacks one of the tensors of layers.0.attention.q_proj": {"use_dora": True},
    "use_qalora": {"use_qalora": True},
    "use_bdlora": {"use_bdlora": {"target_modules_bd_a": ["q_proj"]}},
    "lora_bias": {"lora_bias": True},
    "fan_in_fan_out": {"fan_in_fan_out": True},
    "layer_replication": {"layer_replication": [[0, 2], [1, 3]]},
    "target_parameters": {"target_parameters": ["weight"]},
    "trainable_token_indices": {"trainable_token_indices": [1]},
    "alora_invocation_tokens": {"alora_invocation_tokens": [1]},
    "arrow_config": {"arrow_config": {}},
    "megatron_config": {"megatron_config": {"a": 1}},
    "velora_config": {"velora_config": {}},
    "monteclora_config": {"monteclora_config": {"num_samples": 8}},
    "kasa_config": {"kasa_config": {}},
    "ensure_weight_tying": {"ensure_weight_tying": True},
    "bias": {"bias": "all"},
    "modules_to_save": {"modules_to_save": ["layernorm", "classifier"]},
    "a_later_setting": {"a_later_setting": True},
    "another_later_setting": {"another_later_setting": {"scale": 3}},
    **{
        f"init_lora_weights '{start[:40]}": {"init_lora_weights": start}
        for start in ("pissa", "pissa_niter_16", "olora", "OLoRA", "corda", "loftq", "lora_ga", "something new")
    },
    "init_lora_weights '7'": {"init_lora_weights": 7},
    "rank_pattern has 'nowhere'": {"rank_pattern": {"nowhere": 4}},
    "alpha_pattern has 'proj'": {"alpha_pattern": {"proj": 4}},  # a name is matched whole, from a dot on
    "alpha_pattern has 'layers.9.attention.q_proj'": {"alpha_pattern": {"layers.9.attention.q_proj": 4}},
    "alpha_pattern has 'encoder.layer.0.*'": {"alpha_pattern": {"encoder.layer.0.*": 4}},
    "alpha_pattern has ''": {"alpha_pattern": {"": 4}},
    "no regular expression": {"alpha_pattern": {"(q_proj": 4}},
    "too complex": {"alpha_pattern": {"(([a-z]+)+)+X": 4}},
    "'layers.*too complex": {"target_modules": r"layers(.*.*.*.*.*.*.*.*)X"},
    "rank_pattern in": {"rank_pattern": ["q_proj"]},
    "target_modules, which name": {"target_modules": None},
    "target_modules in": {"target_modules": [["q_proj"]]},
    "layers_to_transform": {"layers_to_transform": ["1"]},
    "r and lora_alpha at": {"rank_pattern": {"q_proj": "4"}},
    "does not say its r and lora_alpha": {"lora_alpha": True},
    "can be used": {"lora_alpha": 10**400},
    "rank 9 at layers.1.attention.q_proj": {"rank_pattern": {"layers.1.attention.q_proj": 9}},
    "target_modules do not name layers.0.attention.v_proj": {"target_modules": ["q_proj"]},
    "lacks the tensors of layers.0.attention.k_proj": {"target_modules": ["q_proj", "k_proj", "v_proj"]},
    "disagree on layernorm": {"modules_to_save": ["layernorm"]},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("reason", REFUSED)
def test_a_setting_that_changes_the_sum_is_refused_by_name(theirs: Path, deep: Backbone, reason: str) -> None:
    edit(theirs, **REFUSED[reason])
    with pytest.raises(ClAstError, match=reason) as caught:
        imported(theirs, deep)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_saved_layernorm_that_the_settings_do_not_name_is_refused(tmp_path: Path, deep: Backbone) -> None:
    write_lora(tmp_path / "theirs", deep, modules_to_save=["layernorm"])
    edit(tmp_path / "theirs", modules_to_save=None)
    with pytest.raises(MethodError, match="disagree on layernorm"):
        imported(tmp_path / "theirs", deep)


def test_settings_that_are_not_set_or_cannot_matter_are_no_reason(theirs: Path, deep: Backbone) -> None:
    logits = expected(theirs, deep, load_file(theirs / "task.safetensors"))
    edit(
        theirs,
        **dict.fromkeys(peft_settings.REFUSED),
        a_later_setting=False,
        another=[],
        a_third={},
        task_type="FEATURE_EXTRACTION",
        peft_version="99.0",
        qalora_group_size=32,
        megatron_core="other",
        loftq_config={"bits": 4},
        lora_dropout=0.3,
    )
    same(found(theirs, deep), logits)


def test_eva_is_a_plain_lora_with_its_ranks_in_the_patterns(tmp_path: Path, deep: Backbone) -> None:
    """EVA draws the start of A from the data and spreads the ranks; it leaves the backbone's weights alone."""
    ranks = {"layers.0.attention.q_proj": 6, "layers.1.attention.v_proj": 2}
    alphas = {"layers.0.attention.q_proj": 9, "layers.1.attention.v_proj": 3}
    head = write_lora(tmp_path / "theirs", deep, rank_pattern=ranks, alpha_pattern=alphas)
    edit(tmp_path / "theirs", init_lora_weights="eva", eva_config={"rho": 2.0})
    same(found(tmp_path / "theirs", deep), expected(tmp_path / "theirs", deep, head))
