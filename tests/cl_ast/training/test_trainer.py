"""Training one task: it learns, keeps its best weights, is repeatable, and leaves everything else as it was."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import TrainingError
from cl_ast.progress import Step
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.clips import ClipSet
from cl_ast.training.masking import masked
from cl_ast.training.options import Hyperparameters, TrainOptions
from cl_ast.training.trainer import accuracy_of, train
from tests.cl_ast.conftest import Fresh, Toy

LABELS = ("tone", "noise")
SHORT = Hyperparameters(epochs=2, batch_size=8, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "rate"),
    [("linear", 1e-2), ("bottleneck", None), ("conformer:k=8", None), ("lora", None), ("full", 1e-3)],
)
def test_a_toy_task_is_learned(fresh: Fresh, backbone: Backbone, toy: Toy, method: str, rate: float | None) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.tensors().items()}
    model = fresh(method, labels=LABELS, frames=30)
    used = model.settings.method.learning_rate if rate is None else rate
    trained = train(model, toy(0, 32), toy(32, 40), Hyperparameters(epochs=12, batch_size=8, learning_rate=used))
    assert accuracy_of(model, toy(40, 48))[0] > 0.9
    assert trained.accuracy > 0.9
    assert trained.seconds > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.tensors().items())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["conformer", "lora", "full"])
def test_the_same_seed_gives_the_same_weights_and_another_one_does_not(fresh: Fresh, toy: Toy, method: str) -> None:
    def weights(seed: int) -> dict[str, Tensor]:
        model = fresh(method, labels=LABELS, frames=30)
        options = Hyperparameters(
            epochs=2, batch_size=8, frequency_mask=20, time_mask=10, learning_rate=1e-3, seed=seed
        )
        train(model, toy(0, 16), toy(32, 40), options)
        return model.state()

    first = weights(3)
    torch.rand(5)  # what else draws from torch does not matter
    again, other = weights(3), weights(4)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_training_leaves_torchs_own_random_numbers_alone(fresh: Fresh, toy: Toy) -> None:
    state = torch.get_rng_state()
    train(fresh("lora", labels=LABELS, frames=30), toy(0, 16), toy(32, 40), SHORT)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["conformer", "bottleneck", "full"])
def test_the_best_weights_are_kept_and_not_the_last(fresh: Fresh, toy_clips: list[Path], toy: Toy, method: str) -> None:
    """Validation labels are the wrong way round, so every epoch of learning makes the loss worse."""
    reversed_labels = ClipSet(toy_clips[32:], [(n + 1) % 2 for n in range(16)], LogMelFrontEnd(30))
    model = fresh(method, labels=LABELS, frames=30)
    options = Hyperparameters(epochs=8, batch_size=8, learning_rate=3e-3)
    trained = train(model, toy(0, 32), reversed_labels, options)
    assert trained.epoch < options.epochs
    assert accuracy_of(model, reversed_labels) == (trained.accuracy, trained.loss)


def test_accuracy_and_loss_are_means_over_clips(fresh: Fresh, toy: Toy) -> None:
    model, clips = fresh("linear", labels=LABELS, frames=30), toy(0, 40)  # more than one batch
    features, targets = clips.batch(range(40))
    logits = model.logits(features)
    accuracy, loss = accuracy_of(model, clips)
    assert accuracy == pytest.approx(float((logits.argmax(1) == targets).float().mean()))
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, targets)), abs=1e-5)


def test_the_watcher_sees_every_stage_with_loss_and_accuracy(fresh: Fresh, toy: Toy) -> None:
    steps: list[Step] = []
    train(fresh("lora", labels=LABELS, frames=30), toy(0, 20), toy(32, 40), SHORT, steps.append)
    assert list(dict.fromkeys(step.stage for step in steps)) == [
        "reading training clips",
        "reading validation clips",
        "fitting a first classifier (linear probe)",
        "training",
    ]
    last = steps[-1]
    assert (last.done, last.total, last.note) == (40, 40, "epoch 2/2")
    assert last.loss is not None
    assert last.loss > 0
    assert last.accuracy is not None
    assert 0 <= last.accuracy <= 1
    done = [step.done for step in steps if step.stage == "training"]
    assert done == sorted(done)


# Afterwards nothing needs gradients, whatever happened


def _at_rest(model: TaskModel) -> bool:
    tensors = [*model.state().values(), *model.trainable(), *model.backbone.tensors().values()]
    return not model.adapter.training and all(not t.requires_grad and t.grad is None for t in tensors)


def _stop(error: BaseException) -> Callable[[Step], None]:
    def report(step: Step) -> None:
        if step.stage == "training":
            raise error

    return report


@pytest.mark.parametrize("method", ["linear", "conformer", "full"])
def test_a_trained_task_is_at_rest(fresh: Fresh, toy: Toy, method: str) -> None:
    model = fresh(method, labels=LABELS, frames=30)
    train(model, toy(0, 8), toy(32, 40), Hyperparameters(epochs=1))
    assert _at_rest(model)


@pytest.mark.parametrize("method", ["linear", "conformer", "full"])
def test_an_interrupted_task_is_at_rest_too(
    fresh: Fresh, backbone: Backbone, toy: Toy, features: Tensor, method: str
) -> None:
    model = fresh(method, labels=LABELS, frames=30)
    plain = backbone.run(backbone.embed(features))
    with pytest.raises(KeyboardInterrupt):
        train(model, toy(0, 16), toy(32, 40), SHORT, _stop(KeyboardInterrupt()))
    assert _at_rest(model)
    assert torch.equal(backbone.run(backbone.embed(features)), plain)


def test_a_full_device_is_a_clear_error(fresh: Fresh, toy: Toy) -> None:
    model = fresh("lora", labels=LABELS, frames=30)
    with pytest.raises(TrainingError, match=r"memory of cpu is full.*--batch-size than 8"):
        train(model, toy(0, 16), toy(32, 40), SHORT, _stop(torch.OutOfMemoryError("CUDA out of memory")))
    assert _at_rest(model)


class Overflowing(ClipSet):
    """Clips whose features are no longer numbers, as an exploding loss makes everything."""

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        features, targets = super().batch(indices)
        return features * float("nan"), targets


def test_a_loss_that_is_not_a_number_is_a_clear_error(fresh: Fresh, toy_clips: list[Path], toy: Toy) -> None:
    model = fresh("bottleneck", labels=LABELS, frames=30)
    broken = Overflowing(toy_clips[:8], [n % 2 for n in range(8)], LogMelFrontEnd(30))
    with pytest.raises(TrainingError, match=r"not a number after epoch 1.*--lr"):
        train(model, broken, toy(32, 40), replace(SHORT, head="fresh"))
    assert _at_rest(model)
    with pytest.raises(TrainingError, match=r"backbone's output.*not numbers.*--precision fp32"):
        train(model, broken, toy(32, 40), SHORT)
    assert _at_rest(model)


# Options


def test_the_defaults_are_the_papers_recipe() -> None:
    options = TrainOptions()
    assert (options.beta1, options.beta2, options.epsilon, options.weight_decay) == (0.9, 0.98, 1e-6, 0.1)
    assert (options.learning_rate, options.frequency_mask, options.time_mask) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", 100.0),
        ("weight_decay", -0.1),
        ("weight_decay", float("nan")),
        ("beta1", 1.0),
        ("beta2", -0.5),
        ("epsilon", -1.0),
        ("frequency_mask", -1),
        ("time_mask", -1),
        ("precision", "fp8"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(TrainingError) as caught:
        Hyperparameters(**{name: value})
    assert name.replace("_", " ") in str(caught.value).replace("_", " ")
    assert str(value) in str(caught.value) or f"{value:g}" in str(caught.value)


# SpecAugment


def test_nothing_is_masked_by_default(features: Tensor) -> None:
    assert masked(features, 0, 0, -9.0) is features


@pytest.mark.parametrize(("option", "axis", "size"), [("frequency_mask", 1, 128), ("time_mask", 0, 60)])
def test_one_band_of_each_clip_takes_the_padding_value(features: Tensor, option: str, axis: int, size: int) -> None:
    torch.manual_seed(0)
    widths = {"frequency_mask": 0, "time_mask": 0, option: 24}
    bands = set()
    for _ in range(20):
        for clip, stock in zip(masked(features, **widths, fill=-9.0), features, strict=True):
            where = (clip != stock).all(dim=1 - axis).nonzero().flatten().tolist()
            assert len(where) <= 24
            assert where == list(range(where[0], where[-1] + 1) if where else [])
            expected = stock.clone()
            expected.index_fill_(axis, torch.tensor(where, dtype=torch.long), -9.0)
            assert torch.equal(clip, expected)
            bands.add((where[0], len(where)) if where else ())
    assert len(bands) > 20  # another one for each clip, each time
    assert {band[0] for band in bands if band} <= set(range(size))
    assert not (features == -9.0).any()


def test_a_mask_wider_than_the_clip_is_fine(features: Tensor) -> None:
    assert masked(features[:, :20], 500, 80, 0.5).shape == (3, 20, 128)


def test_training_uses_the_masks_and_measuring_does_not(fresh: Fresh, toy: Toy) -> None:
    losses = []
    for width in (0, 40):
        model = fresh("linear", labels=LABELS, frames=30)
        options = Hyperparameters(epochs=1, batch_size=8, frequency_mask=width, learning_rate=1e-12)
        seen: list[Step] = []
        trained = train(model, toy(0, 16), toy(0, 16), options, seen.append)
        loss = seen[-1].loss
        assert loss is not None
        losses.append((loss, trained.loss))
    (plain_training, plain), (masked_training, measured) = losses
    assert plain_training == pytest.approx(plain, abs=1e-4)
    assert abs(masked_training - plain_training) > 1e-3
    assert measured == pytest.approx(plain, abs=1e-5)
