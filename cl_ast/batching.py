"""Work in pieces of a bounded size, and pieces that are prepared ahead."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_AHEAD = 2  # pieces that wait until they are taken


def chunks(count: int, size: int) -> Iterator[range]:
    """Yield consecutive ranges of at most `size` numbers that cover 0 to `count`."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def ahead(pieces: Iterable[Callable[[], T]]) -> Generator[T, None, None]:
    """Yield the result of each call in order; a thread makes the next two while the caller works on one.

    What a call raises is raised here when its turn comes. When the generator is closed, no further call begins.
    """
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(1, "cl-ast-prepares")
    try:
        for piece in pieces:
            waiting.append(pool.submit(piece))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
