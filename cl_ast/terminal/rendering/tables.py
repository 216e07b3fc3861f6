"""Shows lists as tables: predictions, tasks, methods and measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType

from cl_ast.evaluation.shown_accuracy import countable, counted, with_interval
from cl_ast.tasks import origin
from cl_ast.tasks.kind_names import ACCURACY, is_tags
from cl_ast.terminal.output import print_text
from cl_ast.terminal.rendering.console import console
from cl_ast.terminal.rendering.layout import Breakable, Lines, bare, line
from cl_ast.wording import size, some_of

if TYPE_CHECKING:
    from cl_ast.inference.prediction import Prediction
    from registry import TaskRecord, VersionRecord

_NEAREST = 3
_MOST_NAMES = 20  # in a line
_FEWEST = 0.01  # the smallest share of a task's clips that is worth a mention
_MOST_RICH = 100  # rows; rich takes too long for more
_WORD_OF_NOTE = r"joined over \d+(?: of \d+)?|windows of \S+ s|[\d.]+ s|\S+"  # so that a narrow column has few lines


def show(*parts: RenderableType) -> None:
    """Print tables and lines to standard output; a part that is text becomes one line, escaped.

    The width is that of the terminal, or 160 columns and more elsewhere, without the spaces at the ends of lines.
    """
    shown = [line(part) if isinstance(part, str) else part for part in parts]
    if console().is_terminal:
        console().print(*shown, sep="\n", crop=False)
        return
    wide = console(width=160)
    with wide.capture() as captured:
        wide.print(*shown, sep="\n", crop=False)
    # What was captured is escaped already, and is not to be measured and wrapped again.
    print_text("\n".join(row.rstrip(" ") for row in captured.get().removesuffix("\n").split("\n")))


@lru_cache(maxsize=1_000)
def percent(value: float | None) -> str:
    """Return a fraction in percent; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}"


def predictions(answers: Sequence[Prediction]) -> RenderableType:
    """Return a row for each clip or window: task, best label and the runners-up, or why no task fits."""
    windows = any(answer.start is not None for answer in answers)
    routed = any(answer.p_value is not None for answer in answers)
    columns = [*(["from", "to"] if windows else []), "task", *(["p-value"] if routed else []), "label", "probability"]
    table = bare("clip", *columns, "runners-up")
    for answer in answers:
        label, score, others = _answer(answer)
        span = [f"{answer.start:.2f}", f"{answer.end:.2f}"] if windows else []
        task = answer.task if answer.known else f"unknown (nearest: {answer.task})"
        others_shown = answer.why_unknown or ", ".join(f"{name} {value:.2f}" for name, value in others)
        style = "" if answer.known else "yellow"
        table.add_row(
            _clip(answer),
            *span,
            Breakable(task, style),
            *([_p_value(answer)] if routed else []),
            Breakable(label),
            score,
            Breakable(others_shown, "dim"),
        )
    return table


def _answer(answer: Prediction) -> tuple[str, str, Sequence[tuple[str, float]]]:
    """Return the label with its probability, or all tags that are true with theirs, and the other labels."""
    names = answer.said
    true = [score for label, score in answer.labels if label in names]
    others = [one for one in answer.labels if one[0] not in names]
    return ", ".join(names) or "no tag", ", ".join(f"{score:.2f}" for score in true) or "–", others


def _p_value(answer: Prediction) -> str:
    return "–" if answer.p_value is None else f"{answer.p_value:.2f}"


def _clip(answer: Prediction) -> RenderableType:
    """Return the name of a clip, with what is to be said of it below."""
    if not answer.notes:
        return Breakable(answer.path)
    return Group(Breakable(answer.path), *(Breakable(note, "dim", _WORD_OF_NOTE) for note in answer.notes))


def tasks(records: Sequence[TaskRecord], seconds: Mapping[str, float | None]) -> RenderableType:
    """Return a row for each task, in learning order; "test %" is test accuracy after training, of few clips as a count.

    Args:
        seconds: how much of a clip each task takes, by name.
    """
    if not records:
        return "no task yet; teach one with: cl-ast add-task TASK"
    columns = ("task", "method", "classes", "hears", "size", "v.", "test %", "on")
    return listed(columns, [_task_cells(record.version, seconds[record.name]) for record in records])


def nearest(shares: Mapping[str, Sequence[tuple[str, float]]]) -> Sequence[RenderableType]:
    """Return a line for each task some of whose clips went to other tasks; no lines if there are too many of them."""
    lines = []
    for task, others in shares.items():
        most = [f"{name} {100 * share:.0f} %" for name, share in others[:_NEAREST] if share >= _FEWEST]
        if most:
            lines.append(f"  {task} → {', '.join(most)}")
    if not lines or len(lines) > _MOST_RICH:
        return []
    return ["", "clips that the router sent to other tasks, as a share of each task's own", *lines]


def by_name_only(records: Sequence[TaskRecord]) -> Sequence[RenderableType]:
    """Return a line that lists the tasks that the router never chooses; no line if there are none."""
    names = [record.name for record in records if origin.by_name_only(record.version)]
    if not names:
        return []
    return ["", f"by name only, until `cl-ast route TASK --with DIR`: {some_of(names, _MOST_NAMES)}"]


def _task_cells(v: VersionRecord, seconds: float | None) -> tuple[str, ...]:
    return (
        v.task,
        v.method,
        str(v.classes),
        "–" if seconds is None else f"{seconds:g} s",
        size(v.adapter_bytes),
        str(v.number),
        counted(v.learned_accuracy, countable(v.training, "test")) + " mAP" * is_tags(v),
        v.created.date().isoformat(),  # quicker than a format
    )


def methods(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return a row for each method."""
    table = bare("method", "parameters", "size per task", "source")
    for row in rows:
        table.add_row(
            Breakable(row["method"]),
            f"{row['trainable_parameters']:,}",
            size(row["bytes"]),
            Breakable(row["source"], "dim"),
        )
    return table


def with_metric(name: str, metric: str) -> str:
    """Return a task's name, and what the task is measured by unless that is accuracy."""
    return name if metric == ACCURACY else f"{name} ({metric})"


def measured(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return a row with the test accuracy, or mAP, of each task that was just measured."""
    table = bare("task", "clips", "by name %", "routed %", "sent to the\nright task %", 'answered\n"unknown" %')
    for row in rows:
        clips = row["clips"] if row["metric"] == ACCURACY else None  # mAP is no share of clips
        table.add_row(
            with_metric(row["task"], row["metric"]),
            str(row["clips"]),
            with_interval(row["accuracy"], clips),
            counted(row["auto_accuracy"], clips),
            counted(row["routed_right"], row["clips"]),
            counted(row["declined"], row["clips"]),
        )
    return table


def listed(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> RenderableType:
    """Return a row for each task, whose name and method may be broken into lines; very many rows are plain lines."""
    if len(rows) > _MOST_RICH:
        return Lines([column.replace("\n", " ").strip() for column in columns], rows)
    table = bare(*columns)
    for name, method, *numbers in rows:
        table.add_row(Breakable(name), Breakable(method), *numbers)
    return table
