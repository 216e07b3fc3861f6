"""Shows the numbers of the papers beside ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from cl_ast.experiments.papers import Published
from cl_ast.experiments.reproducing import Beside
from cl_ast.terminal.rendering.comparisons import count_text, interval_text
from cl_ast.terminal.rendering.layout import Breakable, bare
from cl_ast.terminal.rendering.tables import percent


def listed_row(one: Published) -> dict[str, Any]:
    """Return a table or figure as `cl-ast reproduce --list` prints it."""
    return {
        "name": one.name,
        "title": one.title,
        "data_sets": " ".join(one.data_sets),
        "backbone": one.backbone,
        "methods": len(one.rows),
        "source": one.source,
    }


def listed(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return a row for each table and figure."""
    table = bare("name", "what it shows", "data sets", "backbone", "source")
    for row in rows:
        texts = [str(row[name]) for name in ("title", "data_sets", "backbone", "source")]
        table.add_row(row["name"], *texts)
    return table


def tables(
    published: Published, numbers: Sequence[Beside], backbone: str, *, quick: bool = False
) -> list[RenderableType]:
    """Return a table for each column of the paper, with its source and what is not as in the paper."""
    shown: list[RenderableType] = [f"{published.name}: {published.title} ({published.source})"]
    if quick:
        shown.append("A quick run, to see that all of it works: its numbers reproduce nothing.")
    if backbone != published.backbone:
        shown.append(f"The paper adapts {published.backbone}; ours is {backbone}.")
    if not any(one.paper is not None for one in numbers):
        shown.append("The paper prints no numbers of this figure.")
    shown.append(_rows(published, numbers))
    for place in dict.fromkeys((one.data_set, one.few_shot) for one in numbers):
        own = [one for one in numbers if (one.data_set, one.few_shot) == place]
        shown += [_title(*place), *_column(own)]
    return shown


def _rows(published: Published, numbers: Sequence[Beside]) -> RenderableType:
    """Return what each row of the paper is here, and the parameters that it trains."""
    table = bare("row", "method", "in the paper", "parameters")
    for row in published.rows:
        counts = [one.parameters for one in numbers if one.row == row.name and one.parameters is not None]
        others = [f"; {data_set}: {method}" for data_set, method in row.own.items()]
        table.add_row(
            row.name,
            Breakable("".join([row.method, *others])),
            row.parameters or "–",
            count_text(min(counts), max(counts)) if counts else "–",
        )
    return table


def _title(data_set: str | None, few_shot: int | None) -> str:
    if data_set is None:
        return "Avg, the mean over the data sets"
    return data_set if few_shot is None else f"{data_set}, {few_shot} training clips per class"


def _column(own: Sequence[Beside]) -> list[RenderableType]:
    table = bare("row", "paper %", "ours %", "difference %", "95 %")
    for one in own:
        table.add_row(
            one.row,
            "–" if one.paper is None else f"{100 * one.paper:.2f}",
            percent(one.ours),
            "–" if one.difference is None else f"{100 * one.difference:+.1f}",
            interval_text(one.interval),
        )
    reasons = dict.fromkeys(one.reason for one in own if one.reason)
    return [table, *(f"not trained: {reason}" for reason in reasons)]
