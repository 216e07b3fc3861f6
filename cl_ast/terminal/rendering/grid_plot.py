"""Draws the accuracy of methods against their size, a swept option or the number of training clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ast.errors import ClAstError
from cl_ast.experiments.grid import Grid
from cl_ast.experiments.summary import Compared
from cl_ast.terminal.rendering.plot import plain, pyplot_of, save
from cl_ast.wording import plural

_PARAMETERS = "trainable parameters"
_MARKERS = "osD^v<>PX*ph"
_STYLES = ("-", "--", "-.", ":")  # with the markers, they tell lines apart where there is no colour
_SCALE_FROM = 8  # from this ratio of the largest value to the smallest on, the axis is logarithmic
_SIZE = (7.5, 5.0)  # of one task, in inches


@dataclass(frozen=True)
class _Curve:
    """One line of a plot: a name, and points with their accuracy and its interval, all in percent."""

    name: str
    points: list[tuple[float, float, float, float]]


def draw_grids(grids: Sequence[tuple[Grid, Sequence[Compared]]], path: Path) -> None:
    """Write a plot with a panel for each task and a line for each family of methods, as png, svg or pdf.

    With a sweep, the horizontal axis is the swept option; else with several numbers of training clips it is those; else
    it is the number of trainable parameters. Vertical bars are 95 % intervals over the test clips.

    Args:
        grids: each with all its lines, in its order.

    Raises:
        ClAstError: matplotlib is not installed, no method was trained, or the file cannot be written.
    """
    panels = [
        (grid, task, _curves(grid, [line for line in lines if line.task == task]))
        for grid, lines in grids
        for task in grid.tasks
    ]
    if not any(curves for _, _, curves in panels):
        raise ClAstError("no method was trained: there is nothing to draw")
    pyplot = pyplot_of()
    width, height = _SIZE
    figure, (axes,) = pyplot.subplots(
        1, len(panels), figsize=(width * len(panels), height), squeeze=False, layout="constrained"
    )  # fmt: skip
    names = list(dict.fromkeys(curve.name for _, _, curves in panels for curve in curves))
    for axis, (grid, task, curves) in zip(axes, panels, strict=True):
        if len(panels) > 1:
            axis.set_title(plain(task))
        axis.set(xlabel=_axis_of(grid), ylabel="test accuracy, %")
        axis.grid(alpha=0.25)
        if not curves:
            continue
        texts = [_draw(axis, curve, names.index(curve.name), len(names)) for curve in curves]
        _scale(axis, [x for curve in curves for x, *_ in curve.points], ticks=_axis_of(grid) != _PARAMETERS)
        figure.draw_without_rendering()
        _part(axis, texts)
    save(pyplot, figure, path)


def _axis_of(grid: Grid) -> str:
    if grid.sweep is not None:
        return plain(grid.sweep.option)
    return "training clips per class" if len(grid.few_shot) > 1 else _PARAMETERS


def _curves(grid: Grid, lines: Sequence[Compared]) -> list[_Curve]:
    """Return the lines of one panel, with the lowest at its end first."""
    by_size = _axis_of(grid) == _PARAMETERS
    found: dict[str, list[Compared]] = {}
    words: dict[str, str] = {}
    for place, line in zip([one for one in grid.lines() if one.task == lines[0].task], lines, strict=True):
        if line.accuracy is None:
            continue
        several = grid.sweep is not None and len(grid.few_shot) > 1
        clips = "all clips" if line.few_shot is None else plural(line.few_shot, "clip")
        word = f"{place.variant.word}, {clips}" if several else place.variant.word
        name = line.family if by_size else word
        found.setdefault(name, []).append(line)
        words[name] = word
    # A family of one method is called as the method was named.
    curves = [_Curve(name if len(own) > 1 else words[name], _points(grid, own)) for name, own in found.items()]
    return sorted(curves, key=lambda curve: curve.points[-1][1])


def _points(grid: Grid, lines: Sequence[Compared]) -> list[tuple[float, float, float, float]]:
    points = []
    for line in lines:
        x: float | None = line.trainable_parameters
        if grid.sweep is not None or len(grid.few_shot) > 1:
            x = line.few_shot if grid.sweep is None else line.value
        assert line.accuracy is not None and x is not None
        low, high = line.interval or (line.accuracy, line.accuracy)
        points.append((float(x), 100 * line.accuracy, 100 * low, 100 * high))
    return sorted(points)


def _draw(panel: Any, curve: _Curve, number: int, count: int) -> Any:
    """Draw one line, and return the text of its label, which begins at its last point."""
    from matplotlib import colormaps

    # Lightness grows along this scale of colours, so that it is one of greys too; its end is too light on white.
    colour = colormaps["viridis"](0.85 * number / max(1, count - 1))
    x, y, low, high = zip(*curve.points, strict=True)
    panel.vlines(x, low, high, color=colour, linewidth=0.8, alpha=0.5)
    marker, style = _MARKERS[number % len(_MARKERS)], _STYLES[number % len(_STYLES)]
    panel.plot(x, y, color=colour, marker=marker, linestyle=style, markersize=5, linewidth=1.4)
    return panel.annotate(
        plain(curve.name), (x[-1], y[-1]), xytext=(8, 0), textcoords="offset points", va="center", fontsize="small",
        arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "0.5", "shrinkA": 0, "shrinkB": 3},
    )  # fmt: skip


def _scale(panel: Any, values: Sequence[float], *, ticks: bool) -> None:
    """Scale the horizontal axis, and leave room on the right for the labels."""
    low, high = min(values), max(values)
    logarithmic = low > 0 and high >= _SCALE_FROM * low
    if logarithmic:
        panel.set_xscale("log")
        panel.set_xlim(low / (high / low) ** 0.05, high * (high / low) ** 0.45)
    else:
        span = (high - low) or max(1.0, abs(high))
        panel.set_xlim(low - 0.05 * span, high + 0.45 * span)
    if ticks:
        panel.set_xticks(sorted(set(values)), [f"{value:g}" for value in sorted(set(values))])
        panel.set_xticks([], minor=True)


def _part(panel: Any, texts: Sequence[Any]) -> None:
    """Move labels up or down until none covers another."""
    from matplotlib.text import Text

    renderer = panel.figure.canvas.get_renderer()
    placed: list[Any] = []
    for text in texts:
        box = Text.get_window_extent(text, renderer)  # without the line that leads to it
        steps = [0.5 * step * sign * box.height for step in range(60) for sign in (1, -1)]
        free = (step for step in steps if not any(box.translated(0, step).overlaps(one) for one in placed))
        shift = next(free, 0.0)
        placed.append(box.translated(0, shift))
        x, y = text.xyann
        text.xyann = (x, y + shift * 72 / panel.figure.dpi)  # in points
