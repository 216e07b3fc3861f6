"""Shows how good events are: a row for each class, and one for all."""

from typing import Any

from rich.console import Group, RenderableType

from cl_ast.evaluation.event_score import EventScore, Tally
from cl_ast.terminal.rendering.layout import bare, line, more
from cl_ast.terminal.rendering.tables import percent
from cl_ast.wording import plural

_MOST_CLASSES = 60


def rows(result: EventScore) -> list[dict[str, Any]]:
    """Return one flat record for each class, and a last one without a label for all."""
    found = [{"label": label, **one.to_json()} for label, one in result.classes.items()]
    return [*found, {"label": "", **result.overall.to_json()}]


def table(result: EventScore) -> RenderableType:
    """Return the table, the widest first: a class, its events and what is right of them."""
    shown = bare("class", "in reference", "found", "right", "precision %", "recall %", "F1 %")
    for label, one in list(result.classes.items())[:_MOST_CLASSES]:
        shown.add_row(label, *_cells(one))
    if len(result.classes) > _MOST_CLASSES:
        shown.add_row(more(len(result.classes) - _MOST_CLASSES, "csv"))
    shown.add_row(line("all", "bold"), *_cells(result.overall))
    rule = f"collar {result.collar:g} s; ends also within {result.share:.0%} of the length; {result.matching} matching"
    macro = f"mean F1 of the classes: {percent(result.macro_f1)} %; {plural(result.recordings, 'recording')}"
    return Group(shown, "", line(macro), line(rule, "dim"))


def _cells(one: Tally) -> list[str]:
    counts = [f"{count:,}" for count in (one.reference, one.found, one.right)]
    return [*counts, percent(one.precision), percent(one.recall), percent(one.f1)]
