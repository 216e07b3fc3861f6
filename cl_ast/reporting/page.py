"""Renders a report as one HTML file that stands alone: no script, no request, light and dark, and fit for printing.

Whatever comes from outside, such as names, labels and file names, is text and nothing else: jinja2 escapes HTML, and
characters that are not shown are escaped as everywhere (`cl_ast.escaping`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cl_ast.baselines import comparison
from cl_ast.errors import ClAstError
from cl_ast.escaping import escaped
from cl_ast.evaluation.details import Details, Share
from cl_ast.evaluation.shown_accuracy import clip_count, counted, with_interval
from cl_ast.excerpts import Excerpt, Place, in_folder
from cl_ast.experiments import running
from cl_ast.experiments.results import FILE
from cl_ast.reporting import figures
from cl_ast.reporting.calibration import calibration_error, reliability
from cl_ast.reporting.comparisons import read_comparisons
from cl_ast.reporting.findings import Findings
from cl_ast.reporting.over_time import moments
from cl_ast.reporting.recorded import columns_in
from cl_ast.reporting.streams_compared import StreamComparison, read_streams
from cl_ast.wording import duration, plural, size
from registry import TaskRecord
from registry.limits import TEMPERATURES
from streams.recorded_split import SPLITS

TEMPLATES = Path(__file__).with_name("templates")
_MOST_CLASSES = 10
_MOST_SQUARE = 100  # tasks of which there are tables of tasks by tasks
_MOST_UPRIGHT = 6  # tasks whose names stand upright above the columns of a table


def page(findings: Findings) -> str:
    """Return the report on a registry as HTML. Raises ClAstError where matplotlib is not installed."""
    stream = moments(findings.stats)
    measured = [one.measured for one in findings.details]
    bins = reliability([outcome for one in measured for outcome in one.outcomes])
    return _rendered(
        "registry.html",
        findings.name,
        findings=findings,
        stats=findings.stats,
        names=[task.name for task in findings.tasks],
        clips={task.name: _clips(task) for task in findings.tasks},
        square_shown=len(findings.tasks) <= _MOST_SQUARE,
        many=len(findings.tasks) > _MOST_UPRIGHT,
        accuracy_figure=Markup(figures.average_accuracy(stream, findings.joint)) if stream else None,
        forgetting_figure=Markup(figures.forgetting(stream)) if len(stream) > 1 else None,
        chance=stream[-1].chance if stream else None,
        changed=_changed(findings.stats["matrix"]["oracle"]),
        worst=_worst(findings.details),
        bins=bins,
        error=calibration_error(bins),
        errors={one.task: calibration_error(reliability(one.outcomes)) for one in measured},
        temperatures={task.name: _temperature(task) for task in findings.tasks},
        reliability_figure=Markup(figures.reliability(bins)) if bins else None,
    )


def results_page(folder: Path) -> str:
    """Return the report on a folder of results as HTML.

    Raises:
        ClAstError: the results are of another command, cannot be read, or have a value that cannot be one; or
            matplotlib is needed and not installed.
    """
    name, columns = folder.resolve().name, columns_in(folder)
    if columns == (*running.KEYS, *running.VALUES):
        return _rendered("comparison.html", name, comparisons=read_comparisons(folder))
    if columns == (*comparison.KEYS, *comparison.VALUES):
        found = read_streams(folder)
        drawn = [_figures(f"s{number}", one) for number, one in enumerate(found)]
        return _rendered("baselines.html", name, comparisons=list(zip(found, drawn, strict=True)))
    raise ClAstError(
        f"{folder / FILE}: a report shows the results of `cl-ast compare`, `reproduce` and `baselines`, and these are "
        "others, or of an earlier version; name another folder"
    )


def _figures(name: str, one: StreamComparison) -> list[Markup]:
    """Return the figures of a stream: accuracy over its steps, and forgetting unless every run failed."""
    found = [figures.stream(name, one.curves, one.chance)]
    if one.curves and one.steps > 1:
        found.append(figures.stream_forgetting(f"{name}f", one.curves))
    return [Markup(figure) for figure in found]


def _rendered(template: str, title: str, **values: Any) -> str:
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return _environment().get_template(template).render(title=title, style=style, **values)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters |= {
        "counted": counted,
        "with_interval": with_interval,
        "percent": _percent,
        "points": _points,
        "interval": _interval,
        "duration": duration,
        "size": size,
        "plural": plural,
        "file_name": _file_name,
    }
    return environment


def _file_name(place: Place) -> str:
    """Return the name of a clip without its folder, which may tell more of a machine than a page should."""
    file = place.path if isinstance(place, Excerpt) else place
    return in_folder(place, file.parent)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:z.1f}".replace("-", "−")


def _points(mean: Mapping[str, float | None] | None) -> str:
    """Return a mean of fractions in percent with its standard deviation, as `summary` has them."""
    if mean is None:
        return "–"
    return _percent(mean["mean"]) + ("" if mean["sd"] is None else f" ± {_percent(mean['sd'])}")


def _interval(share: Share) -> str:
    return "–" if share.interval is None else f"{100 * share.interval[0]:.0f}–{100 * share.interval[1]:.0f}"


def _changed(matrix: Sequence[Sequence[float | None]]) -> bool:
    """Return whether the accuracy of any task by name differs from one measurement to another."""
    return any(len({value for value in column if value is not None}) > 1 for column in zip(*matrix, strict=True))


def _worst(details: Sequence[Details]) -> list[tuple[str, str, Share]]:
    """Return task, label and share of the classes with the lowest recall, of equal ones the largest first."""
    every = [(one.measured.task, label, share) for one in details for label, share in one.classes.items()]
    wrong = [row for row in every if row[2].right < row[2].clips]
    return sorted(wrong, key=lambda row: (row[2].accuracy, -row[2].clips, row[0], row[1]))[:_MOST_CLASSES]


def _clips(task: TaskRecord) -> list[int | None]:
    """Return how many clips of a task train, validate and test, as its training recorded it."""
    return [clip_count(task.version.training, split) for split in SPLITS]


def _temperature(task: TaskRecord) -> float | None:
    """Return the temperature that a training recorded; None for none that can be one."""
    found, (least, most) = task.version.training.get("temperature"), TEMPERATURES
    return found if isinstance(found, int | float) and least <= found <= most else None
