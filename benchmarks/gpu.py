"""Measures on a GPU: steps, large batches, mixed batches, and `predict` end to end.

`python -m benchmarks gpu` takes some six minutes on one GPU and writes GPU.md, apart from the figures of CPUs. Without
a GPU it changes nothing, and says so.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu_serving import mixed, predicting
from benchmarks.gpu_steps import Plan, shares_of_the_peak, steps
from benchmarks.rows import Row


def measure() -> list[Row]:
    """Return all rows, measured on the first GPU. Exit where there is none."""
    if not torch.cuda.is_available():
        sys.exit("no GPU here: benchmarks/GPU.md stays as it is")
    return measure_with(Plan(torch.device("cuda")))


def measure_with(plan: Plan) -> list[Row]:
    """Return all rows for these sizes."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        parts: dict[str, Callable[[], list[Row]]] = {
            **{f"steps of {frames / 100:g} s": partial(steps, plan, frames) for frames in plan.lengths},
            "mixed batches": partial(mixed, plan),
            "predict": partial(predicting, plan, Path(place)),
            "large batches": partial(shares_of_the_peak, plan),
        }
        for name, part in parts.items():
            started = time.perf_counter()
            found = part()
            for row in found:
                print(row, file=sys.stderr)
            print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
            rows += found
    return rows
