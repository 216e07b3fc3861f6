"""Several processes that train one task together, each on its share of every batch, to the same weights.

`torchrun` and `accelerate launch` start them and say in the environment which of how many each one is. All draw the
same random numbers, so that batches, masks and mixtures are those of one process; gradients are added up after each
step's backward pass, in one buffer. A group of one does nothing.
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

_PATIENCE = timedelta(days=1)  # the others wait while the main process measures every task
_FAILED = "cl-ast failed"

T = TypeVar("T")
R = TypeVar("R")


class Counters(Protocol):
    """What all processes can read and write before and beside their training: torch's store has it."""

    def add(self, key: str, amount: int, /) -> int: ...


class Group:
    """The processes that train together, as one of them sees them.

    Attributes:
        rank: which of them this is, from 0.
        size: how many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Counters | None = None) -> None:
        """
        Args:
            store: of a launched group.
        """
        self.rank = rank
        self.size = size
        self._store = store

    @property
    def main(self) -> bool:
        """Whether this is the one process that writes: registry, checkpoints, progress and output."""
        return self.rank == 0

    def share(self, batch: Sequence[int]) -> Sequence[int]:
        """This process's part of a batch, every `size`-th row; the whole of a batch with fewer rows than processes."""
        return batch if len(batch) < self.size else batch[self.rank :: self.size]

    def weight(self, rows: int) -> float:
        """How much the mean over this share counts in the mean over a batch of so many rows; all sum to 1."""
        return 1 / self.size if rows < self.size else len(range(self.rank, rows, self.size)) / rows

    def add_gradients(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor's gradient becomes the sum of all processes'."""
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
        mine = [work(item) for item in items[self.rank :: self.size]]
        if self.size == 1:
            return mine
        every: list[list[R]] = [[] for _ in range(self.size)]
        dist.all_gather_object(every, mine)
        return [every[place % self.size][place // self.size] for place in range(len(items))]

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Every process takes the main one's numbers: a decomposition may differ between processors."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(1))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process runs the block before the others: it makes what they find."""
        if not self.main:
            self.wait()
        yield
        if self.main:
            self.wait()

    def first_to_fail(self) -> bool:
        """Whether no other process has failed before: that one says why."""
        return self._store is None or self._store.add(_FAILED, 1) == 1

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1:
            dist.destroy_process_group()


ALONE = Group()


def launched(device: str) -> Group:
    """The group that a launcher started this process in; a group of one where none did.

    Args:
        device: "auto", "cpu" or "cuda"; the processes of one machine take a GPU each.

    Raises:
        TrainingError: there are fewer GPUs than processes.
        ClAstError: no such device here.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "MASTER_ADDR" not in os.environ:
        return ALONE
    kind = pick_device(device).type
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
    store, rank, size = next(iter(rendezvous("env://", timeout=_PATIENCE)))
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    return Group(rank, size, store)
