"""The engine: one thread that owns the backbone and answers whatever waits, rows of many tasks in one pass.

There is one queue. Whenever the engine is idle it takes what waits, without a timer: the oldest first, rows of one
length together, bounded in rows and in seconds of sound. What does not fit waits for the next batch, and a long
recording goes to the end of the queue after each of its batches. The registry is looked at once a batch, so that
what another process changes is answered from the next batch on.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import numpy as np

from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.errors import AudioError, ClAstError, TaskNotFoundError
from cl_ast.inference.answering import BATCH, GPU_BATCH, SEGMENTS, batch_size, logits_together, steps_together
from cl_ast.inference.inputs import inputs_of
from cl_ast.inference.predicting import predict
from cl_ast.inference.prediction import AUTO, Query
from cl_ast.manager import Manager
from cl_ast.serving.beginning import Beginning
from cl_ast.serving.metrics import Metrics
from cl_ast.serving.places import READY, STOPPED
from cl_ast.serving.refusals import Refusal, stopping
from cl_ast.serving.work import Outcome, Row, Work
from cl_ast.wording import first_line

T = TypeVar("T")
_ON_GPU = GPU_BATCH, 240.0
"""The most rows of one batch, and the most seconds of sound, with which the tokens of a pass grow."""
_ON_CPU = SEGMENTS, 80.0
"""The same on a CPU. A pass of more than eight rows takes as long for each row, but between two passes the threads that
read requests take the processor, and a batch costs a query of the registry."""
_LATELY = 0.1  # the weight of the last measurement in the rate: about the last ten count


class Engine:
    """Answers `Work` in a thread of its own, which alone may use the manager's session.

    Attributes:
        state: "loading the backbone", "warming up", `READY` or `STOPPED`.
        failure: what kept it from getting ready; None where nothing did.
        seconds_per_work: how long it took for each work lately; 0 before the first.
    """

    def __init__(
        self, manager: Manager, metrics: Metrics, log: Callable[[str], None], pinned: Sequence[str] = ()
    ) -> None:
        """
        Args:
            log: takes a line about what no client is told.
            pinned: names of tasks that stay in memory.
        """
        self.state = "loading the backbone"
        self.failure: BaseException | None = None
        self.seconds_per_work = 0.0
        self._manager = manager
        self._metrics = metrics
        self._log = log
        self._beginning = Beginning(manager.session, pinned, log, self._fail)
        self._most_rows, self._most_seconds = _ON_CPU
        self._most_of_one = BATCH
        self._changed = threading.Condition()
        self._waiting: deque[Work] = deque()
        self._errands: deque[Callable[[], None]] = deque()
        self._finished: list[tuple[Work, list[Outcome]]] = []  # whose answers are given after the batch
        self._closing = False
        self._busy = 0.0  # seconds since the last work was finished
        self._reader = ThreadPoolExecutor(1, "cl-ast-reads-recordings")
        self._thread = threading.Thread(target=self._run, name="cl-ast-engine", daemon=True)

    def start(self) -> None:
        """Begin to load the backbone; what is submitted meanwhile waits."""
        self._thread.start()

    def close(self) -> None:
        """Finish the batch that is running, refuse what waits, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._reader.shutdown(cancel_futures=True)

    def submit(self, work: Work) -> None:
        """Let some clips be answered; `work.outcome` receives the answers."""
        with self._changed:
            self._waiting.append(work)
            self._changed.notify()

    def call(self, errand: Callable[[Manager], T]) -> "Future[T]":
        """Run a function between two batches, in the thread that may use the manager."""
        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(errand(self._manager))
                except BaseException as error:
                    future.set_exception(error)

        with self._changed:
            self._errands.append(run)
            self._changed.notify()
        return future

    @property
    def waiting(self) -> int:
        """How many works wait."""
        return len(self._waiting)

    # In the engine's thread

    def _run(self) -> None:
        try:
            self._prepare()
        except BaseException as error:
            self.failure = error
        while self.failure is None and self._wait():
            for _ in range(len(self._errands)):  # and not those that come meanwhile, before a batch
                self._errands.popleft()()
            works = self._take()
            try:
                self._batch(works)
            except Exception as error:  # a mistake of ours costs these answers, and not the service
                for work in works:
                    self._fail(work, error)
        self.state = STOPPED
        while self._waiting:
            self._waiting.popleft().fail(stopping())

    def _prepare(self) -> None:
        """Load the backbone and the pinned tasks, and run one pass, since the first is slow."""
        # As many as `predict` runs together: so many rows of a work that shares no pass give the same bits as there.
        self._most_of_one = batch_size(self._manager.backbone.device)
        if self._manager.backbone.device.type != "cpu":
            self._most_rows, self._most_seconds = _ON_GPU
        self._beginning.load_pinned()
        self.state = "warming up"
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
        for name in (AUTO, *[task.name for task in self._manager.tasks()][:1]):
            with suppress(ClAstError):  # a broken task is an error of the requests for it
                list(predict(self._manager.session, inputs_of(noise), Query(name)))
        self.state = READY

    def _wait(self) -> bool:
        """Wait for something to do; return False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._errands or self._closing)
            return not self._closing

    def _take(self) -> list[Work]:
        """Take from the queue what the next batch is chosen from; drop what nobody waits for any more."""
        taken: list[Work] = []
        clips = 0
        with self._changed:
            while self._waiting and clips < self._most_rows:
                work = self._waiting[0]
                if work.is_over():
                    self._metrics.rejected("dropped" if work.outcome.cancelled() else "deadline")
                elif taken and (work.question.alone or taken[0].question.alone):
                    break
                else:
                    taken.append(work)
                    clips += len(work.clips)
                self._waiting.popleft()
        return taken

    def _batch(self, works: Sequence[Work]) -> None:
        """Run the next rows of these works, finish those that have no more, and put the others back."""
        started = time.monotonic()
        self._beginning.begin([work for work in works if not work.begun])
        works = [work for work in works if self._is_ready(work)]
        rows = self._next_rows(works)
        self._compute(rows)
        self._busy += time.monotonic() - started
        served = {id(work) for work, _ in rows}
        first: list[Work] = []
        last: list[Work] = []
        for work in works:
            if id(work) not in served or self._is_ready(work):
                (last if id(work) in served else first).append(work)
        with self._changed:
            self._waiting.extendleft(reversed(first))
            self._waiting.extend(last)
        # Together, since the first answer wakes the threads that send answers, which would take turns with this one.
        for work, found in self._finished:
            work.answer(found)
        self._finished.clear()

    def _next_rows(self, works: Sequence[Work]) -> list[tuple[Work, Row]]:
        """Take rows of one length, the oldest first, and of each work so many that others have a place beside it."""
        rows: list[tuple[Work, Row]] = []
        most, shape = self._most_rows, None
        for work in works:
            end = len(rows) + self._most_of_one
            while (row := work.first) is not None and len(rows) < min(most, end):
                front_end = row[0].model.settings.front_end
                if shape is None:
                    shape = front_end.shape
                    most = max(1, min(most, int(self._most_seconds / front_end.seconds)))
                if front_end.shape != shape:
                    break
                rows.append((work, work.take()))
        return rows

    def _compute(self, rows: Sequence[tuple[Work, Row]]) -> None:
        """Run rows in one pass. Where that fails, each work runs alone, so that the one at fault fails alone."""
        if not rows:
            return
        started = time.monotonic()
        works = list({id(work): work for work, _ in rows}.values())
        pairs = [(candidate.model, segment) for _, (candidate, segment) in rows]
        try:
            if works[0].question.timeline:  # then it is alone
                for (_, (candidate, _)), (logits, steps) in zip(rows, steps_together(pairs), strict=True):
                    candidate.logits.append(logits)
                    candidate.steps.append(steps)
            else:
                for (_, (candidate, _)), logits in zip(rows, logits_together(pairs), strict=True):
                    candidate.logits.append(logits)
        except Exception as error:
            if len(works) == 1:
                self._fail(works[0], error)
                return
            for one in works:
                self._compute([(work, row) for work, row in rows if work is one])
            return
        seconds = time.monotonic() - started
        for work in works:
            work.compute_seconds += seconds
        self._metrics.batch([candidate.version.task for _, (candidate, _) in rows], seconds)

    def _is_ready(self, work: Work) -> bool:
        """Return whether a work has rows to run, or can begin again; finish it where none are left.

        The rows of a recording are read in the reader's thread, which submits the work again.
        """
        if work.outcome.done():
            return False
        try:
            if work.begun and work.first is None and not work.finished and not work.streams:
                work.read()
            if work.begun and work.finished:
                self._finished.append((work, work.finish()))
                self._measure()
                return False
        except Exception as error:
            self._fail(work, error)
            return False
        if work.begun and work.first is None:
            self._reader.submit(self._read, work)
            return False
        return True

    def _measure(self) -> None:
        """Take note of how long the engine took for a work that it has finished."""
        weight = _LATELY if self.seconds_per_work else 1.0
        self.seconds_per_work += weight * (self._busy - self.seconds_per_work)
        self._busy = 0.0

    def _read(self, work: Work) -> None:
        """Read the next windows of a recording, in the reader's thread, and put the work back."""
        try:
            work.read()
        except Exception as error:
            self._fail(work, error)
        else:
            self.submit(work)

    def _fail(self, work: Work, error: Exception) -> None:
        """Answer a work with an error, and say what is no fault of the client's."""
        if not isinstance(error, Refusal | AudioError | TaskNotFoundError):
            self._log(f"{work.question.query.task}: {first_line(error)}")
        work.fail(error)
