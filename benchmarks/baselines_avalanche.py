"""Runs Avalanche's strategies on the toy stream, and writes their last accuracies to baselines_avalanche.json.

    pip install avalanche-lib==0.6.0
    python -m benchmarks.baselines_avalanche

A test compares the strategies of `cl_ast.baselines` with this file. Avalanche brings some fifty packages, so it is
installed in an environment of its own, and is no dependency of the tests.
"""

import json
import math
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import baselines_toy as toy

FILE = Path(__file__).with_suffix(".json")
SEEDS = range(10)
STRATEGIES = ("naive", "er", "ewc", "lwf", "joint")


def accuracies(name: str, seed: int) -> dict[str, float]:
    """Return what `baselines_toy.accuracies` says of a strategy after the last step."""
    from avalanche.benchmarks.scenarios.deprecated.generators import tensors_benchmark

    vectors = toy.clips(seed)
    steps = {
        split: [(x[torch.isin(y, torch.tensor(own))], y[torch.isin(y, torch.tensor(own))]) for own in toy.CLASSES_OF]
        for split, (x, y) in vectors.items()
    }
    stream = tensors_benchmark(train_tensors=steps["train"], test_tensors=steps["test"], task_labels=[0] * toy.STEPS)
    strategy = _strategy(name, seed)
    torch.manual_seed(seed)
    if name == "joint":
        strategy.train(stream.train_stream)
    else:
        for experience in stream.train_stream:
            # So that each step begins with a fresh optimiser, as it does here.
            strategy.train(experience, reset_optimizer_state=True)
    strategy.model.eval()
    x, y = vectors["test"]
    with torch.no_grad():
        return toy.accuracies(strategy.model(x), y)


def _strategy(name: str, seed: int) -> Any:
    from avalanche.models import IncrementalClassifier
    from avalanche.training.plugins import EWCPlugin, LRSchedulerPlugin, LwFPlugin, ReplayPlugin
    from avalanche.training.storage_policy import ClassBalancedBuffer
    from avalanche.training.supervised import JointTraining, Naive

    class PerVector(EWCPlugin):  # type: ignore[misc, unused-ignore]
        """The Fisher information of single vectors; Avalanche squares the gradients of whole batches."""

        def compute_importances(self, model: Any, *others: Any, **named: Any) -> Any:
            criterion, optimizer, dataset, device, _ = others
            return super().compute_importances(model, criterion, optimizer, dataset, device, 1, **named)

    options, plain = toy.OPTIONS, toy.perceptron(seed)
    # Its masked outputs are those of classes that were not seen yet.
    head = IncrementalClassifier(toy.HIDDEN, initial_out_features=toy.CLASSES)
    head.classifier = plain[2]
    model = nn.Sequential(plain[0], plain[1], head)
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        weight_decay=options.weight_decay,
    )
    clips = len(toy.CLASSES_OF[0]) * toy.TRAIN * (toy.STEPS if name == "joint" else 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, options.epochs * math.ceil(clips / options.batch_size)
    )
    kept = toy.KEPT * toy.CLASSES
    extra = {
        "naive": [],
        "joint": [],
        "er": [ReplayPlugin(kept, storage_policy=_fixed(ClassBalancedBuffer, kept))],
        # Avalanche has λ where the paper has λ/2.
        "ewc": [PerVector(toy.STRENGTH / 2, mode="separate")],
        "lwf": [LwFPlugin(alpha=toy.ALPHA, temperature=2)],
    }[name]
    kind = JointTraining if name == "joint" else Naive
    return kind(
        model=model,
        optimizer=optimiser,
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=options.batch_size,
        train_epochs=options.epochs,
        plugins=[*extra, LRSchedulerPlugin(schedule, step_granularity="iteration")],
        evaluator=None,
    )


def _fixed(kind: Any, size: int) -> Any:
    return kind(max_size=size, adaptive_size=False, total_num_classes=toy.CLASSES)


def main() -> None:
    """Run every strategy with every seed, and write the file."""
    runs = {name: [accuracies(name, seed) for seed in SEEDS] for name in STRATEGIES}
    found = {name: {over: [run[over] for run in own] for over in own[0]} for name, own in runs.items()}
    for name, own in found.items():
        for over, values in own.items():
            print(f"{name}, {over}: {statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}")
    made = {"versions": {name: version(name) for name in ("avalanche-lib", "torch")}, "accuracies": found}
    FILE.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
