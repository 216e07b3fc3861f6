"""The steps of a training, as a GPU needs them: one graph, few operations, and no frozen weight cast again."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import ASTConfig, ASTModel

from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import parse
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.progress import ClAstWarning
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.compilation import compiled, pays
from cl_ast.training.seeding import seeded
from cl_ast.training.step import Steps
from cl_ast.training.trainer import trainable
from tests.cl_ast.conftest import Fresh, SaveModel, Toy

FRAMES, CLIPS = 30, 2
LAYERS = 4
# An adapter's step has at most this many operations, as a share of the stock model's forward and backward pass.
MOST = 1.35


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that torch runs, and keeps which tensors are cast."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[str] = Counter()
        self.cast: list[int] = []

    def __torch_dispatch__(self, what: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[str(what)] += 1
        if "_to_copy" in str(what):
            self.cast.append(args[0].data_ptr())
        return what(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def deep() -> tuple[Backbone, ASTModel]:
    """A backbone of several narrow layers, and the stock model of the same sizes."""
    sizes = ASTConfig(
        hidden_size=48, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=96, max_length=FRAMES
    )
    torch.manual_seed(0)
    backbone = Backbone(ASTModel(sizes), "deep", fingerprint="deep")
    with backbone.precision("bf16"):  # casts it
        return backbone, ASTModel(sizes)


@pytest.fixture
def step(deep: tuple[Backbone, ASTModel]) -> Callable[[str, str], Operations]:
    """step(method, precision): the operations of forward and backward pass of one step."""

    def count(method: str, kind: str) -> Operations:
        settings = TaskSettings("toy", parse(method), ("dog", "rain"), deep[0].front_end(FRAMES / 100))
        model = TaskModel.fresh(settings, deep[0], torch.Generator().manual_seed(0))
        forward = SplitForward(model, kind)
        features, targets = torch.randn(CLIPS, FRAMES, 128), torch.arange(CLIPS) % 2
        with trainable(model.trainable()), model.adapter.training_mode():
            state = forward.below(features)
            found = Operations()
            with found, model.backbone.precision(kind):
                F.cross_entropy(forward.learn(state), targets).backward()  # type: ignore[no-untyped-call]
        return found

    return count


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *product(["lora", "bottleneck", "bottleneck:houlsby", "conformer", "bitfit", "prefix"], ["fp32", "bf16"]),
        ("ssf", "fp32"),  # in bf16 it has 1.37 times as many: two vectors are cast at every linear map
    ],
)
def test_a_step_has_hardly_more_operations_than_the_stock_model(
    step: Callable[[str, str], Operations], deep: tuple[Backbone, ASTModel], method: str, kind: str
) -> None:
    head = torch.nn.Linear(48, 2)
    with Operations() as stock:
        logits = head(deep[1](torch.randn(CLIPS, FRAMES, 128))[0].mean(dim=1))
        F.cross_entropy(logits, torch.arange(CLIPS)).backward()  # type: ignore[no-untyped-call]
    assert step(method, kind).count.total() <= MOST * stock.count.total()


@pytest.mark.parametrize("method", ["lora", "conformer", "bone", "prompt", "lora:from=2"])
def test_no_frozen_weight_is_cast_in_a_step(
    step: Callable[[str, str], Operations], deep: tuple[Backbone, ASTModel], method: str
) -> None:
    found = step(method, "bf16")
    with deep[0].precision("bf16"):
        computing = deep[0].computing_with(0, "q")["weight"].data_ptr()
    stored = {tensor.data_ptr() for tensor in deep[0].tensors().values()}
    assert found.cast and not stored & set(found.cast) and computing not in found.cast


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory, save_backbone: SaveModel) -> Backbone:
    """A backbone of one layer: the graph of another is made in the same way."""
    return pretrained.load(str(save_backbone(tmp_path_factory.mktemp("backbone"), num_hidden_layers=1)))


def of_new_parts() -> Iterator[str]:
    """Yield the methods without those of which every form acts in the same way in a method before them."""
    before: set[tuple[type, str]] = set()
    for method in METHODS:
        parts = {(type(one.form), one.insertion) for one in parse(method).placements}
        if not parts or parts - before:
            yield method
        before |= parts


@pytest.mark.slow
@pytest.mark.parametrize("method", list(of_new_parts()))
def test_every_method_is_one_graph_in_training(
    fresh: Fresh, backbone: Backbone, shallow: Backbone, method: str
) -> None:
    torch._dynamo.reset()
    # From the second layer on, the tokens of a prompt take the place of others.
    model = fresh(method, backbone=backbone if method == "prompt" else shallow, frames=FRAMES)
    forward = SplitForward(model, "bf16")
    state = forward.below(torch.randn(CLIPS, FRAMES, 128))
    one_graph = torch.compile(forward._logits, fullgraph=True, backend="eager")  # raises where the graph breaks
    with (
        model.backbone.precision("bf16"),
        model.acting(),
        trainable(model.trainable()),
        model.adapter.training_mode(),
    ):
        with seeded(0, state.device):  # mixtures draw at random
            expected = forward._logits(state)
        with seeded(0, state.device):
            logits = one_graph(state)
        torch.testing.assert_close(logits, expected)
        logits.float().sum().backward()  # type: ignore[no-untyped-call]
    assert all(tensor.grad is None for tensor in model.backbone.tensors().values()) or model.backbone.trained


def test_only_the_usual_batch_is_compiled(fresh: Fresh, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last, shorter batch is run as it is, since a second compilation would take longer than it."""
    seen: list[int] = []

    def not_compiled(function: Any) -> Any:
        def call(x: torch.Tensor) -> Any:
            seen.append(len(x))
            return function(x)

        return call

    monkeypatch.setattr("cl_ast.training.cached_states.compiled", not_compiled)
    model = fresh("lora", labels=("tone", "noise"), frames=30)
    clips = toy(0, 20)
    clips.load("reading")
    steps = Steps(CachedStates(clips, SplitForward(model, compile=True)), torch.optim.AdamW(model.trainable()))
    with trainable(model.trainable()):
        taken = [len(steps.take(part).targets) for part in (range(8), range(8, 16), range(16, 20))]
    assert taken == [8, 8, 4]
    assert seen == [8, 8]


def test_a_form_that_cannot_be_compiled_is_run_as_it_is() -> None:
    def breaks(x: torch.Tensor) -> torch.Tensor:
        return x + float(x.sum()) * len(Path(__file__).read_text())

    fast = compiled(breaks)
    with pytest.warns(ClAstWarning, match="goes on without a compiled step"):
        assert torch.equal(fast(torch.zeros(2)), torch.zeros(2))


def test_compiling_pays_on_a_gpu_only(fresh: Fresh) -> None:
    assert not pays(fresh("lora"), clips=10**9, epochs=100, tokens=1000)
