"""Metrics of a router, and the tables that show them."""

import statistics
import sys
from collections.abc import Sequence

import click
import numpy as np
import torch
from torch import Tensor

ALIKE = {"esc10", "us8k"}  # two sets of the same kind of sound, with a class in common
Task = tuple[str, Sequence[int]]  # a set, and which of its classes
Rows = list[dict[str, object]]


def accuracy(tasks: Sequence[Task], choices: Sequence[Tensor], alike: bool = False) -> float:
    """Return the task accuracy, averaged over tasks; with `alike`, ESC-10 and US8K count as one task."""
    out = []
    for index, (task, chosen) in enumerate(zip(tasks, choices, strict=True)):
        same = [i for i, (name, _) in enumerate(tasks) if i == index or (alike and {name, task[0]} == ALIKE)]
        out.append(torch.isin(chosen, torch.tensor(same)).float().mean().item())
    return statistics.mean(out)


def auroc(own: Tensor, foreign: Tensor) -> float:
    """Return the chance that an own clip scores above a foreign one, ties counting half."""
    both = torch.cat([own, foreign]).double()
    ranks = torch.from_numpy(_ranks(both.numpy()))[: len(own)]
    return float((ranks.sum() - len(own) * (len(own) + 1) / 2) / (len(own) * len(foreign)))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def false_positives(own: Tensor, foreign: Tensor) -> float:
    """Return the share of foreign clips that are accepted where 95 % of the own clips are."""
    return float((foreign >= own.sort().values[int(0.05 * len(own))]).float().mean())


def table(title: str, rows: Rows) -> None:
    """Print rows as a markdown table; lists are seeds, and shown as mean ± standard deviation in percent."""
    names = list(rows[0])
    click.echo(f"\n{title}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        click.echo("| " + " | ".join(_cell(row[name]) for name in names) + " |")
    sys.stdout.flush()


def _cell(value: object) -> str:
    if isinstance(value, list):
        spread = f" ± {100 * statistics.stdev(value):.1f}" if len(value) > 1 else ""
        return f"{100 * statistics.mean(value):.1f}{spread}" if value else "–"
    return f"{100 * value:.1f}" if isinstance(value, float) else str(value)
