"""Work in pieces of a bounded size."""

from collections.abc import Iterator


def chunks(count: int, size: int) -> Iterator[range]:
    """Yield consecutive ranges of at most `size` numbers that cover 0 to `count`."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
