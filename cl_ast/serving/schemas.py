"""The JSON of the service, as /openapi.json describes it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """What went wrong."""

    code: Annotated[str, Field(description="For programs, such as overloaded or unreadable_audio.")]
    message: Annotated[str, Field(description="What happened and what to do.")]
    retry_after: Annotated[float | None, Field(description="Seconds until it is worth trying again.")] = None
    request_id: str | None = None


class ErrorAnswer(BaseModel):
    """The answer to every request that went wrong."""

    error: Problem


class Label(BaseModel):
    """A class and its probability."""

    label: str
    score: float


class Near(BaseModel):
    """A task that is near a clip; the p-value is the share of its own clips that fit it no better."""

    task: str
    score: float
    p_value: float | None = None


class TimelineAnswer(BaseModel):
    """The probabilities over time: a row of scores, in the order of the labels, for each step."""

    step: Annotated[float, Field(description="Seconds that a step is long.")]
    labels: list[str]
    starts: Annotated[list[float], Field(description="Seconds at which the steps begin.")]
    scores: list[list[float]]


class Result(BaseModel):
    """The answer for one file or one window of it, or the error of one file of several."""

    model_config = ConfigDict(extra="allow")

    file: str
    start: float | None = None
    end: float | None = None
    task: str | None = None
    task_score: float | None = None
    known: Annotated[bool | None, Field(description="False where no task fits; `task` is then the nearest.")] = None
    tasks: Annotated[list[Near] | None, Field(description="With auto, the nearest tasks.")] = None
    labels: list[Label] | None = None
    tags: Annotated[
        list[str] | None, Field(description="Of a task of tags, the labels whose score reaches their threshold.")
    ] = None
    timeline: TimelineAnswer | None = None
    version: Annotated[int | None, Field(description="The version of the task that answered.")] = None
    sha256: Annotated[str | None, Field(description="The hash of the file of that version.")] = None
    error: Problem | None = None


class Usage(BaseModel):
    """What was answered."""

    audio_seconds: float
    windows: int


class Timing(BaseModel):
    """Where the time went, in milliseconds, summed over the files."""

    decode: float
    queue: float
    route: float
    compute: float


class Classified(BaseModel):
    """The answer of /v1/classify."""

    id: str
    model: Annotated[str, Field(description="The task that was wanted, or auto.")]
    results: list[Result]
    usage: Usage
    timing_ms: Timing


class Parameters(BaseModel):
    """The parameters of Hugging Face's audio-classification task."""

    top_k: Annotated[int | None, Field(ge=1, le=1000)] = None
    function_to_apply: Literal["softmax", "sigmoid", "none"] | None = None


class HubRequest(BaseModel):
    """The request of Hugging Face's audio-classification task, where it is JSON."""

    inputs: Annotated[str, Field(description="The audio file in base64.")]
    parameters: Parameters | None = None


class TaskAnswer(BaseModel):
    """A task and its current version."""

    name: str
    labels: list[str]
    method: str
    version: int
    sha256: str
    backbone: str | None
    seconds: Annotated[float | None, Field(description="How much of a clip it takes at a time.")]
    learned: Annotated[str, Field(description="When, in ISO 8601.")]
    by_name_only: Annotated[bool, Field(description="Whether the router never chooses it.")]
    metric: Annotated[str, Field(description="What the two below are: accuracy, or mAP of a task of tags.")]
    accuracy: Annotated[float | None, Field(description="On test clips, with the task named.")]
    auto_accuracy: Annotated[float | None, Field(description="On test clips, with the task chosen by the router.")]


class Tasks(BaseModel):
    """All tasks, in the order in which they were learned."""

    tasks: list[TaskAnswer]
    changes: Annotated[bool, Field(description="Whether tasks can be added and removed here.")]


class Model(BaseModel):
    """A task as an entry of a list of models."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["cl-ast"] = "cl-ast"
    parent: Annotated[str | None, Field(description="The backbone.")] = None
    root: Annotated[str | None, Field(description="The hash of the task's file.")] = None


class Models(BaseModel):
    """All tasks, and auto where the router chooses among them."""

    object: Literal["list"] = "list"
    data: list[Model]


class Alive(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Whether it answers, and if not why."""

    ready: bool
    why: str | None = None


class EventAnswer(BaseModel):
    """What sounded from when to when; label and task are null where no task fits."""

    file: str
    start: float
    end: float
    label: str | None
    task: str | None
    score_max: float | None
    score_mean: float | None
    windows: int


class EventsFound(BaseModel):
    """The answer of /v1/events."""

    id: str
    events: list[EventAnswer]
    settings: Annotated[dict[str, Any], Field(description="The settings that were used, as the query spells them.")]
    left_out: Annotated[list[str], Field(description="Tasks that did not answer, since their files are damaged.")]
    notes: Annotated[list[str], Field(description="Such as thresholds that were tuned for other windows.")]


class JobState(BaseModel):
    """How far a job is."""

    id: str
    state: Literal["running", "done", "failed"]
    seconds: Annotated[float, Field(description="Of sound, as far as the job is.")]
    step: Annotated[
        dict[str, Any] | None, Field(description="Of a training: its stage, and how much of it is done.")
    ] = None
    left_out: Annotated[
        list[str], Field(description="Tasks that did not answer, since their files are damaged; known at the end.")
    ]
    notes: Annotated[list[str], Field(description="Such as thresholds that were tuned for other windows; at the end.")]
    error: Problem | None = None
    events: Annotated[list[EventAnswer] | None, Field(description="Those found so far.")] = None


class RecordingState(BaseModel):
    """A recording that stays for an hour."""

    id: str
    file: str
    seconds: float
    columns: Annotated[int, Field(description="Of a tile of its spectrogram.")]
    loudest: Annotated[int, Field(description="The largest value of its spectrogram, of 0 to 255.")]
