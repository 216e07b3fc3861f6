"""Shares jobs out to the workers of a Ray cluster. Results come in the order of the jobs; a dead worker is replaced."""

import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from cl_ast.cluster import starting
from cl_ast.errors import ClAstError
from cl_ast.progress import ClAstWarning, Progress, Step, silent
from cl_ast.wording import first_line

_TRIES = 3  # of a job whose workers die

J = TypeVar("J")
R = TypeVar("R")


class Pool:
    """The workers of a Ray cluster, each with a GPU of its own where there are any. To be used as a context manager.

    It is an `Engine` (cl_ast/training/engine.py). The cluster is started when the first job is given.
    """

    def __init__(self, device: str, workers: int | None = None) -> None:
        """
        Args:
            device: what the workers compute on: "auto", "cpu" or "cuda".
            workers: how many at most; None for one a GPU, or, without GPUs, for as many as the CPUs have room for, each
                with as many threads as this process has.

        Raises:
            ClAstError: Ray is not installed.
        """
        self._device = device
        self._workers = workers
        self._ray = starting.imported(device)
        self._is_started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_started:
            self._ray.shutdown()

    def map(self, work: Callable[[J], R], jobs: Sequence[J], progress: Progress = silent) -> Iterator[R]:
        """Yield the result of each job, in the order of the jobs. All that goes to a worker and back is pickled.

        A job whose worker dies is done again by another one. Warnings of a job are given before its result; those that
        several jobs have in common are given once.

        Args:
            progress: called when a job is done, whichever it is.

        Warns:
            ClAstWarning: a worker died.

        Raises:
            ClAstError: the cluster cannot be reached, or three workers died over one job; else, what the work raised.
        """
        if not jobs:
            return
        if not self._is_started:
            starting.start(self._ray)
            self._is_started = True
        given: set[str] = set()
        crew = _Crew(self._ray, work, self._device, min(self._size(), len(jobs)))
        with ThreadPoolExecutor(crew.size) as threads:
            try:
                futures = [threads.submit(crew.do, job) for job in jobs]
                for future in _in_order(futures, progress):
                    result, said, deaths = future.result()
                    if deaths:
                        said = (*said, "a Ray worker died and was replaced; what it was doing was done again")
                    for line in said:
                        if line not in given:
                            warnings.warn(line, ClAstWarning, stacklevel=2)
                            given.add(line)
                    if isinstance(result, ClAstError):
                        raise result
                    yield result
            finally:
                crew.stop()
                threads.shutdown(wait=False, cancel_futures=True)

    def _size(self) -> int:
        import torch

        cpus, gpus = starting.count(self._ray, self._device)
        if gpus:
            return min(self._workers or gpus, gpus)
        return min(self._workers or max(1, cpus // torch.get_num_threads()), cpus)


class _Done(NamedTuple):
    """What became of a job.

    Attributes:
        result: of the work, or the error that it raised.
        said: the warnings of the work.
        deaths: how many workers died over it.
    """

    result: Any
    said: tuple[str, ...]
    deaths: int


class _Crew:
    """The workers for one kind of work; `do` is called by as many threads as there are workers."""

    def __init__(self, ray: Any, work: Callable[[Any], Any], device: str, size: int) -> None:
        import torch

        _, gpus = starting.count(ray, device)
        self.size = size
        self._ray = ray
        self._kind = ray.remote(num_cpus=0 if gpus else 1, num_gpus=1 if gpus else 0)(_Worker)
        self._arguments = work, Path.cwd(), torch.get_num_threads()
        self._lock = Lock()
        self._stopped = False
        self._workers: set[Any] = set()
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(size):
            self._free.put(None)  # a worker is started when there is a job for it

    def do(self, job: Any) -> _Done:
        """Let a free worker do a job, and another one if it dies. Raises ClAstError when the third has died."""
        from ray.exceptions import OutOfMemoryError, RayActorError, RayError

        worker, reason = self._free.get(), ""
        try:
            for deaths in range(_TRIES):
                worker = worker or self._start()
                try:
                    result, said = pickle.loads(self._ray.get(worker.do.remote(job)))
                    return _Done(result, said, deaths)
                except (RayActorError, OutOfMemoryError) as error:
                    reason = first_line(error)
                    self._end(worker)
                    worker = None
        except RayError as error:
            raise ClAstError(f"a Ray worker failed: {starting.last_line(error)}; look at Ray's logs") from error
        finally:
            self._free.put(worker)
        raise ClAstError(f"{_TRIES} Ray workers died over the same work ({reason}); look at Ray's logs")

    def stop(self) -> None:
        """End all workers, whatever they do, and start no more."""
        with self._lock:
            self._stopped = True
            for worker in list(self._workers):
                self._end(worker)

    def _start(self) -> Any:
        with self._lock:
            if self._stopped:
                raise ClAstError("the workers were stopped")
            worker = self._kind.remote(*self._arguments)
            self._workers.add(worker)
        return worker

    def _end(self, worker: Any) -> None:
        self._workers.discard(worker)
        with suppress(Exception):  # it has ended already, or Ray has lost the cluster
            self._ray.kill(worker)


class _Worker:
    """One process of the cluster. It has as many threads as the driver: then its sums are the same to the last bit."""

    def __init__(self, work: Callable[[Any], Any], folder: Path, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        with suppress(OSError):  # Whole paths need no folder.
            os.chdir(folder)
        self._work = work

    def do(self, job: Any) -> bytes:
        """Return the pickled result of a job, or its error, and its warnings."""
        result: Any
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always", ClAstWarning)
            try:
                result = self._work(job)
            except ClAstError as error:
                result = error
        said = tuple(str(one.message) for one in given if issubclass(one.category, ClAstWarning))
        return pickle.dumps((result, said))


def _in_order(futures: Sequence["Future[_Done]"], progress: Progress) -> Iterator["Future[_Done]"]:
    """Yield each future when it is done and it is its turn, and say meanwhile how many are done."""
    count = 0
    progress(Step("training on a cluster", count, len(futures)))
    for future in futures:
        while not future.done():
            wait([one for one in futures if not one.done()], return_when=FIRST_COMPLETED)
            if count != (count := sum(one.done() for one in futures)):
                progress(Step("training on a cluster", count, len(futures)))
        yield future
