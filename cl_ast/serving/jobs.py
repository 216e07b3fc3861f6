"""Jobs: work in the background of which a client asks later how far it is. They live as long as the process."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

from cl_ast.serving.error_refusals import refusal_after_logging
from cl_ast.serving.metrics import Metrics
from cl_ast.serving.refusals import Refusal

_MOST_RUNNING = 16  # each has an upload of its own
_MOST_KEPT = 100
_KEPT_SECONDS = 3_600.0  # after the end


@dataclass(eq=False)
class Job:
    """One job.

    Attributes:
        state: "running", "done" or "failed".
        events: those found so far, as JSON has them.
        seconds: of sound, as far as it is.
        step: of a training, as far as it is; None for other jobs.
        left_out: tasks that did not answer, since their files cannot be used; known at the end.
        notes: what is to be said of the events, as lines; known at the end.
        error: why it failed, as JSON has it.
        changed: is set at the next change, and another one is then put in its place.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: str = "running"
    events: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    step: dict[str, Any] | None = None
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, events: list[dict[str, Any]], seconds: float) -> None:
        """Add events that were found up to so many seconds."""
        self.events += events
        self.seconds = seconds
        self._change()

    def advance(self, step: dict[str, Any]) -> None:
        """Take note of a step of a training."""
        self.step = step
        self._change()

    def end(self, error: dict[str, Any] | None = None) -> None:
        """End it, with or without an error; only the first time counts."""
        if self.state == "running":
            self.state, self.error = "failed" if error else "done", error
            self._change()

    def to_json(self) -> dict[str, Any]:
        """Return its state."""
        found = {"id": self.id, "state": self.state, "seconds": self.seconds, "step": self.step}
        return found | {"left_out": self.left_out, "notes": self.notes, "error": self.error}

    def _change(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Jobs:
    """The jobs of one service. For the event loop's thread."""

    def __init__(self, metrics: Metrics, log: Callable[[str], None]) -> None:
        self._jobs: dict[str, Job] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._log = log
        metrics.gauge("jobs_running", "Jobs that are not finished.", lambda: len(self._running))

    def require_room(self) -> None:
        """Raise Refusal where no more jobs may run."""
        if len(self._running) >= _MOST_RUNNING:
            raise Refusal("overloaded", f"{_MOST_RUNNING} jobs are running already; try again", 1.0)

    def start(self, work: Callable[[Job], Awaitable[object]], cleanup: Callable[[], None], task: str = "") -> Job:
        """Start a job.

        Args:
            cleanup: is called when it has ended.
            task: which an error of the job names.
        """
        ended = [job.id for job in self._jobs.values() if job.state != "running"]
        for old in ended[:-_MOST_KEPT]:
            del self._jobs[old]
        job = Job()
        self._jobs[job.id] = job
        self._running[job.id] = asyncio.create_task(self._run(job, work, cleanup, task))
        return job

    def one(self, job: str) -> Job:
        """Return a job. Raises Refusal where there is none."""
        if job not in self._jobs:
            raise Refusal("not_found", "there is no such job; jobs are kept for an hour after their end")
        return self._jobs[job]

    def remove(self, job: str) -> None:
        """Stop a job and forget it. Raises Refusal where there is none."""
        self.one(job)
        if job in self._running:
            self._running[job].cancel()
        del self._jobs[job]

    def close(self) -> None:
        """Stop all jobs; who follows one gets its error."""
        for task in self._running.values():
            task.cancel()

    async def _run(
        self, job: Job, work: Callable[[Job], Awaitable[object]], cleanup: Callable[[], None], task: str
    ) -> None:
        try:
            await work(job)
            job.end()
        except asyncio.CancelledError:
            job.end(Refusal("draining", "the job was stopped").to_json())
        except Exception as error:
            job.end(refusal_after_logging(error, self._log, f"job {job.id}", task).to_json())
        finally:
            del self._running[job.id]
            asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._jobs.pop, job.id, None)
            cleanup()


def started(job: Job) -> JSONResponse:
    """Return the answer to a request that has started a job: its state, and where it is found."""
    return JSONResponse(job.to_json(), 202, {"Location": f"/v1/jobs/{job.id}"})
