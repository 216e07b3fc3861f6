"""The file of a task: what is written comes back exactly, and nothing else is taken for it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError, CorruptRegistryError, MethodError
from cl_ast.tasks.task_file import from_bytes, to_bytes
from tests.cl_ast.conftest import Fresh, Randomise
from tests.cli.forked import Forked

METHODS = [
    "linear",
    "full",
    "bottleneck",
    "bottleneck:houlsby,sequential",
    "conformer:k=8",
    "conformer:houlsby",
    "lora:qkvo,r=3,s=0.123456789",
    "bottleneck:ffn+lora",
]
ROUTER = {"prototypes": torch.arange(12.0).reshape(3, 4), "calibration": torch.linspace(0, 1, 5)}

Edit = Callable[[dict[str, Tensor], dict[str, Any]], object]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_saved_answers_exactly_the_same(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor, method: str
) -> None:
    model = randomise(fresh(method))
    stored = from_bytes(to_bytes(model, backbone, {}, ROUTER), backbone)
    assert stored.model.settings == model.settings
    assert stored.model.state().keys() == model.state().keys()
    assert torch.equal(stored.model.logits(features), model.logits(features))
    assert stored.router.keys() == ROUTER.keys()
    assert all(torch.equal(stored.router[name], tensor) for name, tensor in ROUTER.items())


@pytest.mark.parametrize("method", METHODS)
def test_the_same_task_is_the_same_bytes(fresh: Fresh, backbone: Backbone, method: str) -> None:
    first, again = (to_bytes(fresh(method, seed=4), backbone, {"seed": 4}, ROUTER) for _ in range(2))
    assert first == again
    assert to_bytes(from_bytes(first, backbone).model, backbone, {"seed": 4}, ROUTER) == first


def test_the_file_describes_itself(fresh: Fresh, backbone: Backbone) -> None:
    settings = {"pooling": "mean+std", "positions": "zeros", "labels": ("Hund", "pluie", "雨")}
    model = fresh("conformer:k=8", **settings)
    header = from_bytes(to_bytes(model, backbone, {"source": {"folder": "clips"}}, {}), backbone).header
    assert header["name"] == "toy"
    assert header["method"] == "conformer:pfeiffer,mhsa,parallel,r=8,k=8"
    assert header["labels"] == ["Hund", "pluie", "雨"]
    assert header["front_end"] == {"frames": 60, "mean": -4.2677393, "std": 4.5689974}
    assert (header["pooling"], header["positions"]) == ("mean+std", "zeros")
    assert header["backbone"]["fingerprint"] == backbone.fingerprint
    assert header["trainable_parameters"] == model.trainable_parameters()
    assert header["source"] == {"folder": "clips"}


def test_positions_and_pooling_are_the_tasks_own(fresh: Fresh, backbone: Backbone, features: Tensor) -> None:
    plain, without = fresh("linear"), fresh("linear", positions="zeros")
    assert not torch.equal(plain.logits(features), without.logits(features))
    deviations = fresh("linear", pooling="mean+std")
    assert deviations.head["head.weight"].shape == (3, 64)
    restored = from_bytes(to_bytes(without, backbone, {}, {}), backbone).model
    assert torch.equal(restored.logits(features), without.logits(features))


def test_full_fine_tuning_holds_a_backbone_of_its_own(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor
) -> None:
    before = backbone.run(backbone.embed(features))
    model = randomise(fresh("full"))
    assert model.trainable_parameters() == backbone.parameters
    data = to_bytes(model, backbone, {}, {})
    assert json.loads(_header(data)["cl_ast"])["backbone"]["fingerprint"] == backbone.fingerprint
    from_bytes(data, backbone)
    assert torch.equal(backbone.run(backbone.embed(features)), before)


# What is refused


def _header(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return found


@pytest.fixture
def edited(fresh: Fresh, backbone: Backbone) -> Callable[..., bytes]:
    """edited(edit, method="conformer"): a good file of that method with its tensors or header changed in place."""

    def edit(how: Edit, method: str = "conformer") -> bytes:
        data = to_bytes(fresh(method), backbone, {}, ROUTER)
        tensors, header = load(data), json.loads(_header(data)["cl_ast"])
        how(tensors, header)
        return bytes(save(tensors, metadata={"cl_ast": json.dumps(header)}))

    return edit


UP = "layers.1.mhsa.parallel.conformer.up.weight"
EDITS: dict[str, tuple[Edit, tuple[str, ...]]] = {
    "missing tensor": (lambda t, h: t.pop(UP), (UP, "lacks")),
    "missing statistics": (
        lambda t, h: t.pop("layers.0.mhsa.parallel.conformer.batchnorm.var"), ("batchnorm.var", "lacks"),
    ),
    "missing head": (lambda t, h: t.pop("head.bias"), ("head.bias", "toy", "lacks")),
    "tensor too many": (lambda t, h: t.update(extra=torch.zeros(2)), ("extra",)),
    "head tensor too many": (lambda t, h: t.update({"head.extra": torch.zeros(2)}), ("head.extra",)),
    "tensors of a backbone": (lambda t, h: t.update({"trunk.norm.weight": torch.ones(32)}), ("toy", "backbone")),
    "wrong shape": (lambda t, h: t.update({UP: torch.zeros(32, 7)}), (UP, "(32, 7)", "(32, 8)")),
    "wrong precision": (lambda t, h: t.update({UP: t[UP].double()}), ("toy", UP, "float64")),
    "NaN": (lambda t, h: t[UP].view(-1)[5:6].fill_(float("nan")), ("toy", UP, "not numbers")),
    "infinity in the head": (lambda t, h: t["head.bias"].fill_(float("inf")), ("toy", "head.bias", "not numbers")),
    "NaN in the route": (lambda t, h: t["router.prototypes"].fill_(float("nan")), ("toy", "router.prototypes")),
    "a label too many": (lambda t, h: h["labels"].append("cat"), ("toy", "head.weight", "(3, 32)", "(4, 32)")),
    "other method": (lambda t, h: h.update(method="lora"), ("lora",)),
    "unknown method": (lambda t, h: h.update(method="magic"), ("magic",)),
    "method that is no text": (lambda t, h: h.update(method=5), ("no method", "5")),
    "no labels": (lambda t, h: h.pop("labels"), ("adapter file", "labels")),
    "labels that are none": (lambda t, h: h.update(labels=None), ("adapter file",)),
    "front end of another kind": (lambda t, h: h["front_end"].update(bins=80), ("adapter file", "bins")),
    "header that is a list": (lambda t, h: h.update(backbone=[]), ("adapter file",)),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_a_file_that_is_not_exactly_the_task_is_refused(
    name: str, edited: Callable[..., bytes], backbone: Backbone
) -> None:
    edit, words = EDITS[name]
    with pytest.raises((CorruptRegistryError, MethodError)) as caught:
        from_bytes(edited(edit), backbone)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_full_copy_lacking_a_tensor_is_refused(edited: Callable[..., bytes], backbone: Backbone) -> None:
    data = edited(lambda t, h: t.pop("trunk.layers.0.q.weight"), "full")
    with pytest.raises(MethodError, match=r"layers\.0\.q\.weight"):
        from_bytes(data, backbone)


def test_an_adapter_of_another_backbone_is_refused_with_both_fingerprints(
    fresh: Fresh, backbone: Backbone, other_backbone: Backbone
) -> None:
    with pytest.raises(CorruptRegistryError) as caught:
        from_bytes(to_bytes(fresh("lora"), backbone, {}, {}), other_backbone)
    for fingerprint in (backbone.fingerprint, other_backbone.fingerprint):
        assert fingerprint[:12] in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"short", b"\0" * 100, b"PK\x03\x04" * 50, b"\xff" * 500, bytes(save({"a": torch.zeros(2)}))]
)
def test_garbage_is_refused(data: bytes, backbone: Backbone) -> None:
    with pytest.raises(CorruptRegistryError, match="not an adapter file"):
        from_bytes(data, backbone)


def test_a_file_cut_short_anywhere_is_refused(fresh: Fresh, backbone: Backbone) -> None:
    data = to_bytes(fresh("lora"), backbone, {}, ROUTER)
    for length in (4, 8, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(ClAstError, match="not an adapter file"):
            from_bytes(data[:length], backbone)


# Writes a task of the backbone in one folder to a file, and prints how this process hashes a word.
_WRITE = """
import torch
from pathlib import Path
from cl_ast.backbone import pretrained
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.tasks.task_file import to_bytes
from cl_ast.tasks.task_model import TaskModel, TaskSettings
backbone = pretrained.load(sys.argv[1])
chosen = TaskSettings("toy", parse("conformer"), ("dog", "rain", "siren"), LogMelFrontEnd(60))
model = TaskModel.fresh(chosen, backbone, torch.Generator().manual_seed(0))
Path(sys.argv[2]).write_bytes(to_bytes(model, backbone, {"b": 1, "a": 2}, {}))
print(hash("word"))
raise SystemExit
"""


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(
    backbone_folder: Path, backbone: Backbone, fresh: Fresh, tmp_path: Path
) -> None:
    """Nothing of a file may hang on the order of a set or of a hash."""
    out, err = Forked(backbone_folder, tmp_path / "file", first=_WRITE).communicate()
    assert int(out) != hash("word") or "PYTHONHASHSEED" in os.environ, err
    assert (tmp_path / "file").read_bytes() == to_bytes(fresh("conformer"), backbone, {"a": 2, "b": 1}, {})
