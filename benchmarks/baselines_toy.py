"""A toy stream on which the strategies of `cl_ast.baselines` and those of Avalanche are compared.

Ten classes are normal distributions of vectors. A small perceptron learns them in five steps of two classes each.
"""

import torch
from torch import Tensor, nn

from cl_ast.baselines.examples import Examples, Vectors
from cl_ast.training.options import Hyperparameters

STEPS, CLASSES, WIDTH, HIDDEN = 5, 10, 16, 32
TRAIN, TEST = 30, 40  # vectors per class
KEPT = 5  # vectors per class in a buffer
STRENGTH, ALPHA = 200.0, 10.0  # of EWC, and of LwF
OPTIONS = Hyperparameters(epochs=5, batch_size=16, learning_rate=5e-3)
CLASSES_OF = [(2 * step, 2 * step + 1) for step in range(STEPS)]


def clips(seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the vectors (n, WIDTH) and classes (n,) of "train" and "test"."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(CLASSES, WIDTH, generator=generator)
    found = {}
    for split, count in (("train", TRAIN), ("test", TEST)):
        targets = torch.arange(CLASSES).repeat_interleave(count)
        found[split] = means[targets] + torch.randn(len(targets), WIDTH, generator=generator), targets
    return found


def perceptron(seed: int) -> nn.Sequential:
    """Return an untrained perceptron."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))


def accuracies(logits: Tensor, targets: Tensor) -> dict[str, float]:
    """Return the accuracy where every class may be the answer, and where only those of the vector's step may.

    Args:
        logits: (n, CLASSES).
        targets: (n,).
    """
    allowed = torch.zeros(CLASSES, CLASSES, dtype=torch.bool)
    for own in CLASSES_OF:
        allowed[torch.tensor(own)[:, None], torch.tensor(own)] = True
    of_step = logits.masked_fill(~allowed[targets], -torch.inf)
    return {
        name: float((values.argmax(dim=1) == targets).float().mean())
        for name, values in (("all classes", logits), ("the step's classes", of_step))
    }


def steps(seed: int, split: str) -> list[Examples]:
    """Return the examples of each step of "train" or "test"."""
    vectors, targets = clips(seed)[split]
    source = Vectors(vectors)
    rows = [torch.isin(targets, torch.tensor(own)).nonzero()[:, 0] for own in CLASSES_OF]
    return [Examples.of(source, mine, targets[mine], step) for step, mine in enumerate(rows)]
