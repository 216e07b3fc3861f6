"""Numbers as files hold them: exact on what they made, close to what they were made from, and refused when they lie."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from cl_ast.adapters.methods import METHODS
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError, TrainingError
from cl_ast.tasks.number_formats import SCALE, decoded, encoded
from cl_ast.tasks.task_file import from_bytes, to_bytes
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.quantising import rounded
from cl_ast.training.trainer import Trained, accuracy_of, outputs
from tests.cl_ast.conftest import Fresh, Randomise, Toy

ROUTER = {"prototypes": torch.arange(12.0).reshape(3, 4)}
many = settings(max_examples=100, deadline=None, derandomize=True)


@pytest.mark.slow
@many
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    scale=st.sampled_from([0.0, 1e-20, 1e-6, 1e-3, 1.0, 50.0, 3e4]),
    kind=st.sampled_from(["fp32", "fp16", "int8"]),
    seed=st.integers(0, 10**6),
)
def test_what_is_rounded_stays_as_it_is(shape: list[int], scale: float, kind: Any, seed: int) -> None:
    tensor = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * scale
    once, _ = decoded("w", encoded("w", tensor, kind))
    again, _ = decoded("w", encoded("w", once, kind))
    assert torch.equal(once, again)
    assert once.shape == tensor.shape
    # Half a step of a row, or of a half-precision number.
    step = tensor.abs().max() * (1 / 253 if kind == "int8" and len(shape) > 1 else 2**-11 + 0.0) + 6e-8
    assert (once - tensor).abs().max() <= (0 if kind == "fp32" else step)


def test_a_row_or_column_in_8_bits_has_a_scale_of_its_own() -> None:
    wide = torch.tensor([[1.0, 0.5, -0.25, 0.1], [100.0, 0.0, 50.0, 3.0]])
    for matrix, axis in ((wide, 1), (wide.T.contiguous(), 0)):
        parts = encoded("w", matrix, "int8")
        assert parts["w"].dtype == torch.int8
        torch.testing.assert_close(parts["w" + SCALE], torch.tensor([1.0, 100.0]) / 127, rtol=1e-4, atol=0)
        back, _ = decoded("w", parts)
        assert ((back - matrix).abs().amax(dim=axis) <= torch.tensor([1.0, 100.0]) / 253).all()


@pytest.mark.parametrize("kind", ["fp16", "int8"])
@pytest.mark.parametrize("method", METHODS)
def test_a_rounded_task_answers_exactly_the_same_from_its_file(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor, method: str, kind: Any
) -> None:
    # PaCA's columns are whole numbers, which noise would spoil.
    model = fresh(method) if method == "paca" else randomise(fresh(method))
    model.finish()
    single = to_bytes(model, backbone, {}, ROUTER)
    model.round(kind)
    data = to_bytes(model, backbone, {}, ROUTER)
    stored = from_bytes(data, backbone, shared=lambda _: model.adapter.shared)
    assert torch.equal(stored.model.logits(features), model.logits(features))
    assert all(tensor.dtype != torch.float16 for tensor in stored.model.state().values())
    assert to_bytes(stored.model, backbone, {}, ROUTER) == data
    assert torch.equal(stored.router["prototypes"], ROUTER["prototypes"])
    sizes = [sum(t.numel() * t.element_size() for t in load(one).values()) for one in (single, data)]
    assert sizes[1] < sizes[0]


def _edited(fresh: Fresh, backbone: Backbone, edit: Callable[[dict[str, Tensor]], object]) -> bytes:
    import json

    model = fresh("lora")
    model.round("int8")
    data = to_bytes(model, backbone, {}, {})
    tensors = load(data)
    edit(tensors)
    size = int.from_bytes(data[:8], "little")
    return bytes(save(tensors, metadata=json.loads(data[8 : 8 + size])["__metadata__"]))


A = "layers.0.q.parallel.lora.a"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop(A + SCALE), (A, "scales")),
        (lambda t: t.update({A + SCALE: torch.ones(7)}), (A, "scales")),
        (lambda t: t.update({A + SCALE: torch.ones(6).double()}), (A, "scales")),
        (lambda t: t.update({A + SCALE: torch.full((6,), float("inf"))}), (A, "not numbers")),
        (lambda t: t.update({A: t[A].to(torch.uint8)}), (A, "uint8")),
        (lambda t: t.update({A: t[A].bfloat16()}), (A, "bfloat16")),
        (lambda t: t.update({"head.bias": t["head.bias"].to(torch.int8)}), ("head.bias", "int8")),
        (lambda t: t.update({"head.bias" + SCALE: torch.ones(1)}), ("head.bias.scale",)),
    ],
)
def test_numbers_that_cannot_be_read_are_refused(
    fresh: Fresh, backbone: Backbone, edit: Callable[[dict[str, Tensor]], object], words: tuple[str, ...]
) -> None:
    with pytest.raises(ClAstError) as caught:
        from_bytes(_edited(fresh, backbone, edit), backbone)
    for word in words:
        assert word in str(caught.value)


# How a task is kept after its training


def _model(fresh: Fresh, randomise: Randomise) -> TaskModel:
    return randomise(fresh("lora", labels=("tone", "noise"), frames=30))


WAS = Trained(epoch=1, accuracy=2.0, loss=2.0, seconds=0.0)


@pytest.mark.parametrize(("store", "kinds"), [("auto", {"fp16"}), ("fp32", set()), ("fp16", {"fp16"})])
def test_a_task_is_stored_as_chosen_and_measured_as_stored(
    fresh: Fresh, randomise: Randomise, toy: Toy, store: str, kinds: set[str]
) -> None:
    model, clips = _model(fresh, randomise), toy(0, 8)
    now, (logits, _) = rounded(model, WAS, clips, store)
    assert set(model.stored.values()) == kinds
    assert (now.accuracy, now.loss) == (accuracy_of(model, clips) if kinds else (2.0, 2.0))
    assert torch.equal(logits, outputs(CachedStates(clips, SplitForward(model, "fp32")))[0])  # as it is kept


@pytest.mark.parametrize("spoiled", ["logits", "range"])
def test_where_half_precision_does_not_hold_the_task_stays_as_it_is(
    fresh: Fresh, randomise: Randomise, toy: Toy, spoiled: str
) -> None:
    model, clips = _model(fresh, randomise), toy(0, 8)
    # Large logits move by more than 0.01; a weight beyond 65,504 has no half precision at all.
    model.head["head.weight"].mul_(1e3) if spoiled == "logits" else model.head["head.bias"].fill_(1e5)
    before = {name: tensor.clone() for name, tensor in model.state().items()}
    now, (logits, _) = rounded(model, WAS, clips, "auto")
    assert now == WAS
    assert not model.stored
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state().items())
    assert torch.equal(logits, outputs(CachedStates(clips, SplitForward(model, "fp32")))[0])


def test_a_store_that_cannot_be_is_a_clear_error(fresh: Fresh, randomise: Randomise, toy: Toy) -> None:
    model = _model(fresh, randomise)
    with pytest.raises(TrainingError, match=r"1bit.*auto, fp32"):
        rounded(model, WAS, toy(0, 8), "1bit")
    model.head["head.bias"].fill_(1e5)
    with pytest.raises(TrainingError, match=r"range of half precision.*fp32"):
        rounded(model, WAS, toy(0, 8), "fp16")
