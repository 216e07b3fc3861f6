"""The options that say how events are found, as `events` and `listen` have them; `tune` has those of windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cl_ast.terminal.output import note

if TYPE_CHECKING:
    from cl_ast.events import EventSettings, WindowScorer
    from cl_ast.inference.session import Session

_SCORE = click.FloatRange(0, 1)
_TIMELINE = click.option(
    "--timeline",
    is_flag=True,
    help="Score every step in time within a window, at almost no cost; the hop may then be the window.",
)
_WINDOWS = (
    click.option(
        "--window", type=float, metavar="S", help="Classify windows of S seconds. [default: what the task hears]"
    ),
    click.option(
        "--hop",
        type=float,
        metavar="S",
        help="A window every S seconds. [default: half a window; with --timeline, a whole one]",
    ),
)
_OPTIONS = (
    click.option(
        "--task",
        default="auto",
        show_default=True,
        help="A task's name; auto to let the router choose for each window; all for every task by name.",
    ),
    click.option(
        "--alpha",
        type=_SCORE,
        metavar="X",
        help="With auto, a window is unknown where its p-value is below X: 0 (never), 0.01, …  [default: each task's]",
    ),
    click.option(
        "--route",
        type=click.Choice(["every", "sticky"]),
        default="every",
        show_default=True,
        help="With auto, route every window, or keep a task while it seems to fit (sticky): faster, and approximate.",
    ),
    *_WINDOWS,
    click.option(
        "--on", type=_SCORE, help="The score at which an event begins. [default: 0.6, or what `tune` chose for a class]"
    ),
    click.option("--off", type=_SCORE, help="The score below which it ends. [default: 0.15 below --on]"),
    click.option(
        "--median", type=float, default=0.5, show_default=True, metavar="S", help="Smooth scores over S seconds."
    ),
    click.option(
        "--min-duration", type=float, default=0.25, show_default=True, metavar="S", help="Drop shorter events."
    ),
    click.option(
        "--min-gap", type=float, default=0.3, show_default=True, metavar="S", help="Join events that are nearer."
    ),
    click.option(
        "--pad", type=float, default=0.0, show_default=True, metavar="S", help="Widen events by S seconds each way."
    ),
    _TIMELINE,
)
NAMES = ("task", "alpha", "route", "window", "hop", "on", "off", "median", "min_duration", "min_gap", "pad", "timeline")


def event_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options, which the command gets by their `NAMES`."""
    return _with(_OPTIONS, command)


def window_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `window`, `hop` and `timeline` alone."""
    return _with((*_WINDOWS, _TIMELINE), command)


def _with(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def scorer_of(session: Session, settings: EventSettings) -> WindowScorer:
    """Return what scores the windows, and say where thresholds are for the scores of other windows."""
    from cl_ast.events import WindowScorer

    scorer = WindowScorer(session, settings)
    for line in scorer.cautions():
        note(line)
    return scorer


def settings_of(given: dict[str, Any], method: str = "hysteresis") -> EventSettings:
    """Return the settings for the options that a command was given. Raises click.UsageError where they cannot be."""
    from cl_ast.errors import ClAstError
    from cl_ast.events import EventSettings, Threshold

    if given["alpha"] is not None and given["task"] != "auto":
        raise click.UsageError("--alpha is for the router; leave out --task")
    kept = {name: given[name] for name in NAMES if name not in ("on", "off")}
    try:
        threshold = Threshold.of(given["on"], given["off"])
        tuned = given["on"] is None and given["off"] is None
        return EventSettings(threshold=threshold, method=method, tuned=tuned, **kept)  # type: ignore[arg-type]
    except ClAstError as error:
        raise click.UsageError(str(error)) from None
