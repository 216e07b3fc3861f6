"""What a process costs before it does anything: `--help`, `tasks`, `stats`, and one `predict`.

    python -m benchmarks.starting [--rounds 5]

Processor seconds of whole processes, in turns, with the bytecode that Python keeps beside modules.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.attach import fill
from benchmarks.predicting import clips, registry
from benchmarks.rows import Row
from benchmarks.timing import ratio
from cl_ast.backbone import pretrained as checkpoints

TASKS = 1_000


def started(words: list[str]) -> float:
    """Processor seconds of a whole process."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1], env=kept
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def measure(rounds: int = 5) -> list[Row]:
    """A registry of a thousand tasks for `tasks` and `stats`, one of a single task for `predict`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "many", checkpoints.load(checkpoints.MINI), TASKS)
        one = registry(folder / "one", checkpoints.MINI)
        (clip,) = clips(folder / "clips", 1)
        many, single = (["-m", "cli", "--registry", str(place)] for place in (folder / "many", one))
        words = {
            "click": ["-c", "import click"],
            "help": ["-m", "cli", "--help"],
            "tasks": [*many, "tasks"],
            "stats": [*many, "stats"],
            "model": ["-c", "from transformers import ASTModel"],
            "predict": [*single, "predict", str(clip), "--task", "commands", "--format", "json"],
        }
        taken: dict[str, list[float]] = {name: [] for name in words}
        for number in range(rounds + 1):
            for name, each in words.items():
                seconds = started(each)
                if number:
                    taken[name].append(seconds)
    return _rows(taken)


def _rows(taken: dict[str, list[float]]) -> list[Row]:
    rows = []
    for name, against, most in (("help", "click", 2.0), ("predict", "model", 1.15)):
        found, width = ratio(taken, name, against)
        what = "cl-ast --help" if name == "help" else "one predict, whole process"
        beside = "python -c 'import click'" if name == "help" else "python -c 'from transformers import ASTModel'"
        note = f"theirs: {statistics.median(taken[against]):.3g} s"
        seconds = statistics.median(taken[name])
        rows.append(Row(what, beside, found, seconds, "s", width, f"<= {most:g}", found <= most, note))
    for name in ("tasks", "stats"):
        seconds = statistics.median(taken[name])
        width = f"{min(taken[name]):.2f} to {max(taken[name]):.2f} s in {len(taken[name])} rounds"
        rows.append(Row(f"cl-ast {name}, {TASKS:,} tasks", "", None, seconds, "s", width, "<= 0.3", seconds <= 0.3, ""))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    for row in measure(parser.parse_args().rounds):
        print(row, flush=True)
