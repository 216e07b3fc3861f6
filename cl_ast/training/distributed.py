"""Trains one task in several processes, each on its share of every batch; all get the same weights.

`torchrun` and `accelerate launch` start the processes, and tell each its rank and their number by environment
variables. All processes draw the same random numbers, so that batches, masks and mixtures are the same as in a single
process. Gradients are summed after the backward pass of each step, in one buffer. For a group of one process, nothing
is communicated.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from cl_ast.backbone.device import pick_device
from cl_ast.errors import TrainingError

_TIMEOUT = timedelta(days=1)  # the other processes wait while the main one measures all tasks
_FAILED = "cl-ast failed"

T = TypeVar("T")
R = TypeVar("R")


class Counters(Protocol):
    """Counters that all processes share; torch's store has this method."""

    def add(self, key: str, amount: int, /) -> int:
        """Add to a counter, and return its new value."""
        ...


class Group:
    """The group of processes that train together, from the point of view of one of them.

    Attributes:
        rank: the number of this process, counted from 0.
        size: the number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Counters | None = None) -> None:
        """
        Args:
            store: counters that all processes share; None for a group that no launcher started.
        """
        self.rank = rank
        self.size = size
        self._store = store

    @property
    def main(self) -> bool:
        """Whether this is the process that writes registry, checkpoints, progress and output."""
        return self.rank == 0

    def share(self, batch: Sequence[int]) -> Sequence[int]:
        """Return this process's part of a batch: every `size`-th row, or all rows if they are fewer than processes."""
        return batch if len(batch) < self.size else batch[self.rank :: self.size]

    def weight(self, rows: int) -> float:
        """Return the weight of this process's mean in the mean over a batch of `rows` rows; all weights sum to 1."""
        return 1 / self.size if rows < self.size else len(range(self.rank, rows, self.size)) / rows

    def add_gradients(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor's gradient by the sum of the gradients of all processes."""
        if self.size == 1:
            return
        parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in tensors]
        flat = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(flat)
        for one, part in zip(tensors, torch.split(flat, [part.numel() for part in parts]), strict=True):
            one.grad = part.view_as(one)

    def map(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Apply `work` to each item, each process to its share; every process returns all results, in order.

        Where there are several processes, results must be on the CPU.
        """
        own = [work(item) for item in items[self.rank :: self.size]]
        if self.size == 1:
            return own
        results: list[list[R]] = [[] for _ in range(self.size)]
        dist.all_gather_object(results, own)
        return [results[index % self.size][index // self.size] for index in range(len(items))]

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Copy the main process's values to all processes: a matrix decomposition may differ between processors."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any of the processes, all of which call this alike."""
        if self.size == 1:
            return flag
        flags = torch.tensor(float(flag))
        dist.all_reduce(flags)
        return bool(flags > 0)

    def wait(self) -> None:
        """Wait until all processes have come to this call."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(1))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process first, since the others need what it makes."""
        if not self.main:
            self.wait()
        yield
        if self.main:
            self.wait()

    def first_to_fail(self) -> bool:
        """Return whether no other process has failed before; only the first one reports its error."""
        return self._store is None or self._store.add(_FAILED, 1) == 1

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1:
            dist.destroy_process_group()


ALONE = Group()


def is_launched() -> bool:
    """Return whether a launcher started several processes, of which this is one."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ


def launched(device: str) -> Group:
    """Return the group that a launcher started this process in; a group of one if no launcher did.

    Args:
        device: "auto", "cpu" or "cuda"; each process on a machine takes a GPU of its own.

    Raises:
        TrainingError: there are fewer GPUs than processes, or the device cannot be shared.
        ClAstError: the device is not available.
    """
    if not is_launched():
        return ALONE
    kind = pick_device(device).type
    if ":" in device:
        raise TrainingError(f"several processes cannot share {device}; use --device cuda, which gives each a GPU")
    if kind == "mps":
        raise TrainingError("several processes cannot share this GPU (mps); add --device cpu")
    if kind == "cuda":
        own = int(os.environ.get("LOCAL_RANK", "0"))
        if own >= torch.cuda.device_count():
            raise TrainingError(
                f"{torch.cuda.device_count()} GPUs here, and process {own} has none: launch one process a GPU, "
                "or add --device cpu"
            )
        torch.cuda.set_device(own)
    store, rank, size = next(iter(rendezvous("env://", timeout=_TIMEOUT)))
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT)
    return Group(rank, size, store)
