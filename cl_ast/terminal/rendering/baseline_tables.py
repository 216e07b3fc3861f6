"""Shows what ways to learn a stream came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from cl_ast.terminal.rendering.layout import Breakable, bare
from cl_ast.terminal.rendering.tables import show
from cl_ast.wording import size

_SHARES = {
    "last_accuracy": "last %",
    "mean_incremental_accuracy": "incre-\nmental %",
    "forgetting": "forget-\nting %",
    "intransigence": "intransi-\ngence %",
    "less_than_ours": "below\nours %",
}
_TRANSFER = {"backward_transfer": "backward %", "forward_transfer": "forward %"}


def show_comparison(lines: Sequence[Mapping[str, Any]]) -> None:
    """Print the tables of accuracies and of costs, and what their columns mean."""
    show(
        _accuracies(lines),
        "",
        _costs(lines),
        "",
        "Mean ± standard deviation over the runs, in points. docs/experiments.md says what each column is.",
        *[f"{_named(line)}: {line['reason']}" for line in lines if line["reason"]],
    )


def flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line with a column for each mean and each deviation."""
    found: dict[str, Any] = {}
    for name, value in line.items():
        if name in ("method", "answer", "runs", "reason"):
            found[name] = value
        else:
            found |= {name: value and value["mean"], f"{name}_sd": value and value["sd"]}
    return found


def _accuracies(lines: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = bare("method", *_SHARES.values())
    for line in lines:
        table.add_row(Breakable(_named(line)), *(_points(line[name]) for name in _SHARES))
    return table


def _costs(lines: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = bare("method", *_TRANSFER.values(), "parameters", "size", "replay", "seconds")
    for line in lines:
        table.add_row(
            Breakable(_named(line)),
            *(_points(line[name]) for name in _TRANSFER),
            _mean(line["trained_parameters"], "{:,.0f}"),
            size(line["stored_bytes"] and line["stored_bytes"]["mean"]),
            size(line["replay_bytes"] and line["replay_bytes"]["mean"]),
            _mean(line["seconds"], "{:.1f}"),
        )
    return table


def _named(line: Mapping[str, Any]) -> str:
    return f"{line['method']} {line['answer']}".strip()


def _points(value: Mapping[str, float | None] | None) -> str:
    """Return a mean of fractions in percent with its deviation; a dash for None."""
    if value is None:
        return "–"
    mean, deviation = value["mean"], value["sd"]
    assert mean is not None
    return f"{100 * mean:.1f}" if deviation is None else f"{100 * mean:.1f} ± {100 * deviation:.1f}"


def _mean(value: Mapping[str, float] | None, template: str) -> str:
    return "–" if value is None else template.format(value["mean"])
