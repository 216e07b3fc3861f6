"""Gradient descent on the loss of a strategy: the optimiser and the schedule of every training of this project."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cl_ast.baselines.network import Network
from cl_ast.batching import chunks
from cl_ast.errors import TrainingError
from cl_ast.training.options import Hyperparameters
from cl_ast.training.step import adamw
from cl_ast.training.trainer import trainable

Loss = Callable[[Sequence[int]], Tensor]
"""Maps the numbers of a batch's clips to the loss of the batch."""


def descend(network: Network, clips: int, options: Hyperparameters, loss: Loss) -> None:
    """Train a network for some epochs over `clips` clips. The weights after the last epoch are kept.

    Random numbers are drawn from torch's state.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    tensors = network.trainable()
    optimiser = adamw(tensors, options, options.learning_rate)
    steps = -(-clips // options.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.epochs * steps)
    with trainable(tensors), network.training_mode():
        for epoch in range(options.epochs):
            total = _epoch(network, clips, options.batch_size, loss, optimiser, schedule)
            if not torch.isfinite(total):
                raise TrainingError(f"the loss is not a number after epoch {epoch + 1}; use a smaller --lr")


def _epoch(
    network: Network,
    clips: int,
    batch_size: int,
    loss: Loss,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> Tensor:
    """Train one epoch; return the sum of its losses."""
    order = torch.randperm(clips).tolist()
    total = torch.zeros(())
    for part in chunks(clips, batch_size):
        value = loss(order[part.start : part.stop])
        penalty = network.penalty()
        optimiser.zero_grad(set_to_none=True)
        (value if penalty is None else value + penalty).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        total += value.detach().cpu()
    return total
