"""Finds events in uploads and streams, between two batches of the engine, and writes them as JSON and as text."""

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any, TypeVar

from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.audio.windows import Segment
from cl_ast.errors import AudioError, MethodError
from cl_ast.events import Event, EventSettings, StreamDetector, WindowScorer, writers
from cl_ast.events.cutting import WindowCutter
from cl_ast.events.recordings import GROUP
from cl_ast.events.stream import Watch, ignored
from cl_ast.manager import Manager
from cl_ast.serving.decoding import Limits, blocks, named_as_sent
from cl_ast.serving.event_queries import TextFormat
from cl_ast.serving.jobs import Job
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.service import Service
from cl_ast.serving.uploads import Upload

T = TypeVar("T")


async def find_as_job(
    service: Service, upload: Upload, settings: EventSettings, job: Job, watch: Watch = ignored
) -> tuple[WindowScorer, int]:
    """Find the events of an upload as `find` does, and take note of them in a job."""

    def take(found: Sequence[Event], seconds: float) -> None:
        job.add([event_json(one) for one in found if not one.why], seconds)

    with service.admission.job():
        scorer, samples = await find(service, upload, settings, inf, take, watch)
    job.left_out, job.notes = scorer.left_out, scorer.cautions()
    return scorer, samples


async def find(
    service: Service,
    upload: Upload,
    settings: EventSettings,
    deadline: float,
    take: Callable[[Sequence[Event], float], None],
    watch: Watch = ignored,
) -> tuple[WindowScorer, int]:
    """Find the events of an upload, 32 windows at a time, so that others can go between.

    Args:
        take: gets the events that are over, with the rejected candidates, and how many seconds have been scored.
        watch: gets each window that was scored.

    Returns what scored the windows, and how many samples there are.
    """
    scorer = await scorer_of(service, settings)
    detector = StreamDetector(scorer, upload.name, group=GROUP, watch=watch)
    groups = _groups(upload, Limits(service.settings.most_seconds, deadline), detector.cutter)
    while group := await service.decoding(lambda: next(groups, None)):
        take(await _scored(service, detector, group), group[-1].end or 0.0)
    take(await detecting(service, detector.finish), detector.cutter.samples / SAMPLE_RATE)
    return scorer, detector.cutter.samples


async def _scored(service: Service, detector: StreamDetector, windows: list[Segment]) -> list[Event]:
    return await detecting(service, lambda: detector.take(windows))


async def scorer_of(service: Service, settings: EventSettings) -> WindowScorer:
    """Return what scores windows by these settings. Raises Refusal where they do not go together."""

    def made(manager: Manager) -> WindowScorer:
        return WindowScorer(manager.session, settings, skip_damaged=True)

    try:
        return await service.on_engine(made)
    except (AudioError, MethodError) as error:
        raise Refusal("invalid", str(error)) from None


async def detecting(service: Service, detect: Callable[[], T]) -> T:
    """Return what a detector returns, which runs between two batches. Raises Refusal where a task has no timeline."""
    try:
        return await service.on_engine(lambda _: detect())
    except MethodError as error:
        raise Refusal("invalid", str(error)) from None


def _groups(upload: Upload, limits: Limits, cutter: WindowCutter) -> Iterator[list[Segment]]:
    with named_as_sent(upload):
        for block in blocks(upload, limits, []):
            yield from cutter.add(block)


def event_json(event: Event) -> dict[str, Any]:
    """Return an event as `cl-ast events --format json` has it, with the client's name of the file."""
    found = event.to_json()
    return {"file": found.pop("path"), **found}


def text_of(found: writers.Found, settings: EventSettings, format: TextFormat) -> str:
    """Return events as text."""
    if format == "csv":
        return writers.as_csv([found], settings.row()) + "\n"
    if format == "raven":
        return writers.raven([found]) + "\n"
    if format == "jsonl":
        return "".join(writers.jsonl(one) + "\n" for one in found.events)
    return (writers.audacity(found) if format == "audacity" else writers.srt(found)) + "\n"
