"""Draws the figures of a report as SVG that stands inside a page, and takes its colours and its letters from there."""

import html
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cl_ast.errors import ClAstError
from cl_ast.escaping import escaped
from cl_ast.reporting.calibration import Bin
from cl_ast.reporting.joint import Joint
from cl_ast.reporting.over_time import Moment
from cl_ast.reporting.streams_compared import Curve

# Colours that matplotlib draws with, and the variable of the page's style that takes the place of each.
_INK, _FAINT, _BY_NAME, _ROUTED, _SOFT = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_INK: "--ink", _FAINT: "--faint", _BY_NAME: "--by-name", _ROUTED: "--routed", _SOFT: "--soft"}
_STYLE = {
    "svg.hashsalt": "cl-ast",  # the same figure has the same ids
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # and a dollar is a dollar
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}
_MODES = {"oracle": ("by name", _BY_NAME, "o"), "auto": ("routed", _ROUTED, "s")}
# The widths of line and marker: where by name and routed coincide, both are seen.
_WIDTHS = {_BY_NAME: (4, 8), _ROUTED: (1.4, 4), _SOFT: (1.2, 4), _INK: (1.4, 0)}
_MARKERS = "^vDPX<>*dph"  # of the other methods, which all have the same colour
_METADATA = ("Creator", "Date", "Format", "Type")  # left out: they name addresses and the time
_SIZE = 5.0, 3.1  # inches of 72 units; a telephone shows it at full size
_LABEL_HEIGHT = 0.22  # inches that the label of a line takes
_MOST_OF_METHOD = 30  # characters of its name
_MOST_NAMED = 6  # tasks whose names fit below a figure
_MOST_MARKED = 20  # tasks whose values get a marker each

_Line = tuple[str, str, str, Sequence[float | None]]  # label, colour, marker and values
_End = tuple[float, str, str, str]  # the last value of a line, its label, colour and marker


def check() -> None:
    """Raise ClAstError where matplotlib is not installed: better before the measuring than after it."""
    _matplotlib()


def average_accuracy(moments: Sequence[Moment], joint: Mapping[str, Joint]) -> str:
    """Return the average accuracy after each task, by name and routed, with lines for guessing and joint training.

    Args:
        joint: by mode. It is of all tasks, and so its line is level.
    """
    lines = [(*style, [one.average[mode] for one in moments]) for mode, style in _MODES.items()]
    lines += [
        (f"chance, {label}", _FAINT, "", [one.chance[mode] for one in moments])
        for mode, (label, _, _) in _MODES.items()
    ]
    lines += [(f"joint, {_MODES[mode][0]}", _INK, "", [one.mean] * len(moments)) for mode, one in joint.items()]
    title = "Average accuracy after each task, in percent"
    return _over_time("average", title, [one.after for one in moments], lines, (0, 100))


def forgetting(moments: Sequence[Moment]) -> str:
    """Return the forgetting after each task from the second on, by name and routed."""
    later = moments[1:]
    lines = [(*style, [one.forgetting[mode] for one in later]) for mode, style in _MODES.items()]
    title = "Forgetting after each task, in points"
    return _over_time("forgetting", title, [one.after for one in later], lines, _limits(lines), first=2)


def stream(name: str, curves: Sequence[Curve], chance: Sequence[float]) -> str:
    """Return the average accuracy of each way to learn a stream after each step: ours in colour, joint broken."""
    lines = [("chance", _FAINT, "", chance), *_of_methods([(one, one.accuracies) for one in curves])]
    title = "Average accuracy of each method after each step, in percent"
    return _over_time(name, title, _steps(1, len(chance)), lines, (0, 102), unit="steps")


def stream_forgetting(name: str, curves: Sequence[Curve]) -> str:
    """Return the forgetting of each way to learn a stream after each step from the second on."""
    lines = _of_methods([(one, one.forgetting) for one in curves])
    title = "Forgetting of each method after each step, in points"
    steps = _steps(2, len(curves[0].forgetting))
    return _over_time(name, title, steps, lines, _limits(lines), first=2, unit="steps")


def _of_methods(curves: Sequence[tuple[Curve, Sequence[float]]]) -> list[_Line]:
    """Return the line of each way to learn: ours in colour, the others told apart by markers, joint broken and last."""
    lines: list[_Line] = []
    joint: list[_Line] = []  # comes last, as it would be hidden where it coincides with ours
    markers = itertools.cycle(_MARKERS)
    ours = {answer: (colour, marker) for answer, colour, marker in _MODES.values()}
    for one, values in curves:
        label = _short(one.method, _MOST_OF_METHOD)
        if one.method == "ours" and one.answer in ours:
            lines.append((f"{label}, {one.answer}", *ours[one.answer], values))
        elif one.method.partition(":")[0] == "joint":
            joint.append((label, _INK, "", values))
        else:
            lines.append((label, _SOFT, next(markers), values))
    return [*lines, *joint]


def _steps(first: int, count: int) -> list[str]:
    return [f"step {first + step}" for step in range(count)]


def _limits(lines: Sequence[_Line]) -> tuple[float, float]:
    """Return the lowest and highest point of a figure of forgetting, which may be negative."""
    known = [100 * value for *_, values in lines for value in values if value is not None]
    return min([0.0, *known]), max([5.0, *known]) * 1.1


def reliability(bins: Sequence[Bin]) -> str:
    """Return the reliability diagram: how often answers are right, by their probability."""
    with _axes() as (figure, axes):
        axes.plot([0, 100], [0, 100], color=_FAINT, linestyle=(0, (1, 2)), linewidth=1)
        for one in bins:
            assert one.right.accuracy is not None and one.right.interval is not None
            x, y = 100 * one.probability, 100 * one.right.accuracy
            low, high = one.right.interval
            axes.plot([x, x], [100 * low, 100 * high], color=_BY_NAME, linewidth=1)
            axes.plot([x], [y], color=_BY_NAME, marker="o")
        axes.set(xlim=(0, 102), ylim=(0, 102), xlabel="probability of the answer, %", ylabel="right answers, %")
        return _svg(figure, "reliability", "Right answers in percent by the probability of the answer")


def _over_time(
    name: str,
    title: str,
    tasks: Sequence[str],
    lines: Sequence[_Line],
    limits: tuple[float, float],
    *,
    first: int = 1,
    unit: str = "tasks",
) -> str:
    """Return a figure with a line for each label, colour, marker and values, whose label is at its end.

    Args:
        tasks: the names of the tasks, one for each value.
        lines: the values are fractions; what was not measured is None.
        limits: of the height, in percent.
        first: the number of the first task.
        unit: what is counted where names do not fit.
    """
    height = max(_SIZE[1], _LABEL_HEIGHT * (len(lines) + 2))
    with _axes(height) as (figure, axes):
        ends = []
        for label, colour, marker, values in lines:
            known = [(first + i, 100 * value) for i, value in enumerate(values) if value is not None]
            if not known:
                continue
            shown = marker if len(known) <= _MOST_MARKED else ""
            style = "-" if marker else (0, (4, 3))
            width, size = _WIDTHS.get(colour, (1, 0))
            axes.plot(
                *zip(*known, strict=True), color=colour, marker=shown, linestyle=style, linewidth=width, markersize=size
            )
            ends.append((known[-1][1], label, colour, marker))
        axes.set_ylim(*limits)
        last = first + len(tasks) - 1
        span = max(1, last - first)
        axes.set_xlim(first - 0.15 * min(2, span), last + 0.02 * span)
        if len(tasks) <= _MOST_NAMED:
            axes.set_xticks(range(first, last + 1), [_short(task) for task in tasks])
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_xlabel(f"{unit} learned")
        for y, (_, label, colour, marker) in _apart(ends, _LABEL_HEIGHT / height * (limits[1] - limits[0]), limits[1]):
            shade = _INK if colour == _FAINT else colour
            place = 1.02
            if colour == _SOFT:  # the marker tells lines of one colour apart
                axes.plot([1.03], [y], color=colour, marker=marker, transform=axes.get_yaxis_transform(), clip_on=False)
                place = 1.055
            axes.annotate(label, (place, y), xycoords=("axes fraction", "data"), color=shade, va="center")
        return _svg(figure, name, title)


def _apart(ends: Sequence[_End], least: float, top: float) -> list[tuple[float, _End]]:
    """Return the heights of labels with their ends, moved so far that no two overlap and none is above the top."""
    ordered = sorted(ends)
    heights: list[float] = []
    for height, *_ in ordered:
        heights.append(max(height, heights[-1] + least) if heights else height)
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], top)
        top = heights[place] - least
    return list(zip(heights, ordered, strict=True))


def _short(name: str, most: int = 10) -> str:
    shown = escaped(name)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


@contextmanager
def _axes(height: float = _SIZE[1]) -> Iterator[tuple[Any, Any]]:
    """Yield a figure of a height in inches, and its axes, which are drawn in the style of the page."""
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_SIZE[0], height), dpi=72, layout="constrained")
        yield figure, figure.subplots()


def _svg(figure: Any, name: str, title: str) -> str:
    """Return a figure as an element of a page.

    Args:
        name: begins every id in it, as the page has several figures.
        title: what a screen reader says of it.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    drawn = file.getvalue()
    box = re.search(r'viewBox="[\d. ]+"', drawn)
    inside = drawn[drawn.index("<g ") : drawn.rindex("</svg>")]
    used = set(re.findall(r"#([mp][0-9a-f]{10})\b", inside))
    inside = re.sub(r' id="([^"]*)"', lambda one: f' id="{name}-{one[1]}"' if one[1] in used else "", inside)
    inside = re.sub(r"#([mp][0-9a-f]{10})\b", rf"#{name}-\1", inside)
    inside = re.sub(r"font-family: [^;\"]*;? ?", "", inside)
    for colour, variable in _VARIABLES.items():
        inside = inside.replace(colour, f"var({variable})")
    inside = re.sub(r"\s+", " ", inside)
    label = html.escape(title)
    return f'<svg class="figure" role="img" aria-label="{label}" {box[0] if box else ""}>{inside}</svg>'


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise ClAstError("a report needs matplotlib: pip install 'cl-ast[plot]'") from None
    return matplotlib
