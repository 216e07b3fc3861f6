"""What the service measures of itself, in the text format of Prometheus; times are in seconds."""

from collections import Counter as Counts
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cl_ast.environment import package_versions

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_MOST_TASKS = 200  # that are named; the windows of others count as those of "other"


class Metrics:
    """The counters and histograms of one service, apart from those of any other in this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._tasks: set[str] = set()

        def counter(name: str, says: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"cl_ast_{name}", says, labels, registry=self._registry)

        def histogram(name: str, says: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
            return Histogram(f"cl_ast_{name}", says, buckets=buckets, registry=self._registry)

        self._requests = counter("requests", "Requests by route and status.", ["route", "status"])
        self._refused = counter("rejected", "Requests that were not answered, by reason.", ["reason"])
        self._request_seconds = histogram(
            "request_duration_seconds",
            "From a request's head to the end of its answer; of those that reached the app.",
        )
        self._queue_seconds = histogram("queue_duration_seconds", "Until the first batch with rows of a clip.")
        self._compute_seconds = histogram("compute_duration_seconds", "One pass through the backbone.")
        self._decode_seconds = histogram("decode_duration_seconds", "Reading and resampling one recording.")
        self._batch_rows = histogram("batch_rows", "Rows of one pass.", (1, 2, 4, 8, 16, 32, 64, 128, 256))
        self._audio = counter("audio_seconds", "Seconds of sound that were decoded.")
        self._windows = counter("task_windows", "Windows by the task that classified them.", ["task"])
        self._unknown = counter("router_unknown", "Clips that fit no task.")
        info = Gauge("cl_ast_build_info", "The version; always 1.", ["version"], registry=self._registry)
        info.labels(package_versions().get("cl-ast", "")).set(1)

    def gauge(self, name: str, says: str, value: Callable[[], float]) -> None:
        """Show a value as it is when the metrics are read."""
        Gauge(f"cl_ast_{name}", says, registry=self._registry).set_function(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.observe(seconds)

    def refused(self, route: str, status: int, reason: str, count: int) -> None:
        """Count requests that were refused before they reached the app; without a reason, not for want of a place."""
        self._requests.labels(route, str(status)).inc(count)
        if reason:
            self._refused.labels(reason).inc(count)

    def rejected(self, reason: str) -> None:
        """Count a request that was not answered."""
        self._refused.labels(reason).inc()

    def decoded(self, audio_seconds: float, seconds: float) -> None:
        """Count a recording that was read."""
        self._audio.inc(audio_seconds)
        self._decode_seconds.observe(seconds)

    def answered(self, queue_seconds: float, known: bool) -> None:
        """Count a clip that was answered."""
        self._queue_seconds.observe(queue_seconds)
        if not known:
            self._unknown.inc()

    def batch(self, tasks: Sequence[str], seconds: float) -> None:
        """Count a pass with rows of these tasks."""
        self._batch_rows.observe(len(tasks))
        self._compute_seconds.observe(seconds)
        for task, count in Counts(tasks).items():
            if task not in self._tasks and len(self._tasks) < _MOST_TASKS:
                self._tasks.add(task)
            self._windows.labels(task if task in self._tasks else "other").inc(count)

    def text(self) -> bytes:
        """Return all of it."""
        return generate_latest(self._registry)
