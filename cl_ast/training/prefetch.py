"""Prepares the next batches in a thread while a step runs, and copies them to a GPU on a stream of their own."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial

import torch
from torch import Tensor

from cl_ast.batching import ahead

Batch = tuple[Tensor, Tensor]
Ready = tuple[Batch, torch.cuda.Event | None]


def prefetched(
    make: Callable[[Sequence[int]], Batch], batches: Sequence[Sequence[int]], device: torch.device
) -> Generator[Batch, None, None]:
    """Yield `make` of every batch, in order. When the generator is closed, the thread ends.

    Args:
        make: returns a batch on the device. It is called in the thread, so it must not draw random numbers.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    with closing(ahead(partial(_made, make, batch, stream) for batch in batches)) as coming:
        for batch, done in coming:
            yield _received(batch, done, device)


def _made(make: Callable[[Sequence[int]], Batch], batch: Sequence[int], stream: torch.cuda.Stream | None) -> Ready:
    if stream is None:
        return make(batch), None
    with torch.cuda.stream(stream):
        found = make(batch)
        return found, stream.record_event()


def _received(batch: Batch, done: torch.cuda.Event | None, device: torch.device) -> Batch:
    """Let the step wait for the copy, on the GPU and not here."""
    if done is not None:
        current = torch.cuda.current_stream(device)
        current.wait_event(done)
        for tensor in batch:
            tensor.record_stream(current)
    return batch
