"""The task cache: the tasks used last, within a budget of bytes, and those that the next batch will need."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from cl_ast.tasks.task_file import StoredTask
from registry import VersionRecord

TASK_BYTES = 2**30


class TaskCache:
    """Caches tasks by the hash of their file, so that none can be stale. For one thread.

    Beyond the budget the task used longest ago is dropped; the last one stays, whatever its size. The tasks of a batch
    stay in memory until the batch is answered, because the batch refers to them.
    """

    def __init__(self, load: Callable[[VersionRecord], StoredTask], budget: int = TASK_BYTES) -> None:
        self.bytes = 0
        self._load = load
        self._budget = budget
        self._tasks: OrderedDict[str, tuple[StoredTask, int]] = OrderedDict()
        self._coming: dict[str, Future[StoredTask]] = {}
        self._reader: ThreadPoolExecutor | None = None

    def __contains__(self, version: VersionRecord) -> bool:
        return version.adapter_sha256 in self._tasks

    def __len__(self) -> int:
        return len(self._tasks)

    def get(self, version: VersionRecord) -> StoredTask:
        """Return a task, which is read now if it is not cached. Raises as `load` does."""
        sha256 = version.adapter_sha256
        if sha256 in self._tasks:
            self._tasks.move_to_end(sha256)
            return self._tasks[sha256][0]
        coming = self._coming.pop(sha256, None)
        task = self._load(version) if coming is None else coming.result()
        self._tasks[sha256] = task, task.bytes
        self.bytes += task.bytes
        while self.bytes > self._budget and len(self._tasks) > 1:
            _, (_, size) = self._tasks.popitem(last=False)
            self.bytes -= size
        return task

    def expect(self, versions: Iterable[VersionRecord]) -> None:
        """Begin to read, in a thread, what the next batch needs; forget what was expected before."""
        wanted = {one.adapter_sha256: one for one in versions if one not in self}
        for sha256 in set(self._coming) - set(wanted):
            self._coming.pop(sha256).cancel()
        if not wanted:
            return
        self._reader = self._reader or ThreadPoolExecutor(1, "cl-ast-reads-ahead")
        for sha256, one in wanted.items():
            if sha256 not in self._coming:
                self._coming[sha256] = self._reader.submit(self._load, one)

    def close(self) -> None:
        """Stop reading ahead."""
        self.expect(())
        if self._reader is not None:
            self._reader.shutdown()
            self._reader = None
