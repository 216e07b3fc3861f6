"""How events are found, as a client says it in a query or at the beginning of a stream; the defaults are the library's.

Times are in seconds.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cl_ast.errors import ClAstError
from cl_ast.events import EventSettings, Threshold
from cl_ast.serving.refusals import Refusal

TextFormat = Literal["jsonl", "csv", "audacity", "raven", "srt"]
Format = Literal["json", TextFormat]
_USUAL = EventSettings()


class ScoreQuery(BaseModel):
    """How sound is cut into windows, and which task scores them."""

    task: Annotated[str, Field(max_length=200, description="A task's name, auto, or all for every task by name.")] = (
        _USUAL.task
    )
    window: Annotated[float | None, Field(description="Seconds; by default what the task takes.")] = _USUAL.window
    hop: Annotated[
        float | None, Field(description="Seconds; by default half a window, or with timeline a whole one.")
    ] = _USUAL.hop
    timeline: Annotated[bool, Field(description="A score for every step in time of the backbone.")] = _USUAL.timeline

    def settings(self) -> EventSettings:
        """Return the settings."""
        return EventSettings(**self.model_dump())


class EventQuery(ScoreQuery):
    """How events are found in any sound."""

    on: Annotated[
        float | None, Field(ge=0, le=1, description="Where an event begins; by default what was tuned, else 0.6.")
    ] = None
    off: Annotated[float | None, Field(ge=0, le=1, description="Where it ends; by default 0.15 less.")] = None
    median: Annotated[float, Field(description="Seconds.")] = _USUAL.median
    min_duration: Annotated[float, Field(description="Seconds; shorter events are dropped.")] = _USUAL.min_duration
    min_gap: Annotated[float, Field(description="Seconds; nearer events of a class are one.")] = _USUAL.min_gap
    pad: Annotated[float, Field(description="Seconds before and after.")] = _USUAL.pad
    alpha: Annotated[
        float | None, Field(ge=0, le=1, description="With auto, a window with a lower p-value is unknown.")
    ] = _USUAL.alpha

    def settings(self) -> EventSettings:
        """Return the settings. Raises Refusal where they cannot be."""
        names = EventQuery.model_fields.keys() - {"on", "off"}
        try:
            return EventSettings(
                threshold=Threshold.of(self.on, self.off),
                tuned=self.on is None and self.off is None,
                method=self.method,
                **self.model_dump(include=names),
            )
        except ClAstError as error:
            raise Refusal("invalid", str(error)) from None

    @property
    def method(self) -> Literal["hysteresis", "sebb"]:
        """How events are cut out of the scores."""
        return _USUAL.method


class RecordingQuery(EventQuery):
    """How they are found in a recording, of which all scores are known at its end."""

    events: Annotated[Literal["hysteresis", "sebb"], Field(description="How events are cut out.")] = _USUAL.method

    @property
    def method(self) -> Literal["hysteresis", "sebb"]:
        """How events are cut out of the scores."""
        return self.events


class EventsRequest(RecordingQuery):
    """The query of /v1/events."""

    format: Format = "json"
