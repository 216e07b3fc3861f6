"""Where trainings run: an engine applies the same work to many jobs, such as the workers of a cluster."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from cl_ast.progress import Progress, silent

J = TypeVar("J")
R = TypeVar("R")


class Engine(Protocol):
    """Applies work to jobs, perhaps several at once in other processes, as `cl_ast.cluster.pool.Pool` does."""

    def map(self, work: Callable[[J], R], jobs: Sequence[J], progress: Progress = silent) -> Iterator[R]:
        """Yield the result of each job, in the order of the jobs.

        Args:
            work: may be copied to other processes, and then keeps in each what it made for earlier jobs.
            progress: called when a job is done, whichever it is.

        Raises whatever the work raises, when it is the turn of that job.
        """
        ...
