"""Measures whole processes: `--help`, `tasks`, `stats`, and one `predict`.

    python -m benchmarks.starting [--rounds 5]

Figures are processor seconds, taken in turns, with the bytecode that Python writes next to modules.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.attach import fill
from benchmarks.predicting import clips, registry
from benchmarks.rows import Row
from benchmarks.timing import Times, in_turns, ratio
from cl_ast.backbone import pretrained

TASKS = 1_000

# A command, what it is compared with, and how many times as long it may take.
AGAINST = (
    ("cl-ast --help", "python -c 'import click'", 2.0),
    ("one predict, whole process", "python -c 'from transformers import ASTModel'", 1.15),
)
MOST = 0.3  # seconds that each of the other commands may take


def measure(rounds: int = 5) -> list[Row]:
    """Return all rows: `tasks` and `stats` list a thousand tasks, `predict` has a single one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "many", pretrained.load(pretrained.MINI), TASKS)
        one = registry(folder / "one", pretrained.MINI)
        (clip,) = clips(folder / "clips", 1)
        many, single = (["-m", "cli", "--registry", str(place)] for place in (folder / "many", one))
        listing = {f"cl-ast {name}, {TASKS:,} tasks": [*many, name] for name in ("tasks", "stats")}
        words = {
            "python -c 'import click'": ["-c", "import click"],
            "cl-ast --help": ["-m", "cli", "--help"],
            **listing,
            "python -c 'from transformers import ASTModel'": ["-c", "from transformers import ASTModel"],
            "one predict, whole process": [*single, "predict", str(clip), "--task", "commands", "--format", "json"],
        }
        taken = in_turns({name: partial(_run, each) for name, each in words.items()}, rounds, _of_children)
    return [*(_beside(taken, *each) for each in AGAINST), *(_alone(taken, name) for name in listing)]


def _run(words: list[str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1], env=kept
    )


def _of_children() -> float:
    """Return the processor seconds of all child processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _beside(taken: Times, name: str, against: str, most: float) -> Row:
    found, width = ratio(taken, name, against)
    note = f"the other takes {statistics.median(taken[against]):.3g} s"
    return Row(name, against, found, statistics.median(taken[name]), "s", width, f"≤ {most:g}", found <= most, note)


def _alone(taken: Times, name: str) -> Row:
    seconds = statistics.median(taken[name])
    width = f"{min(taken[name]):.2f} to {max(taken[name]):.2f} s in {len(taken[name])} rounds"
    return Row(name, "", None, seconds, "s", width, f"≤ {MOST:g}", seconds <= MOST, "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    for row in measure(parser.parse_args().rounds):
        print(row, flush=True)
