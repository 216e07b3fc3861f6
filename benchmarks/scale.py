"""Times each stage of `add-task` over thousands of clips, and its peak memory: what grows faster than the clips?

    python -m benchmarks scale --clips 105829           Speech Commands' layout, of that many synthetic clips
    python -m benchmarks scale --clips 5000 20000       two sizes, and how the time per clip grows
    python -m benchmarks scale --clips 30043 --layout fsc

Each size is one process, which prints a JSON object. The backbone has random weights: AST-base on a GPU, else one of
two narrow layers, whose epoch takes about as long for a clip as AST-base's on a GPU. A second training finds the
features of the first in a cache folder of its own, and is stopped once it has read them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from transformers import ASTConfig, ASTModel

import streams
from benchmarks import scale_data
from benchmarks.memory import peak_memory
from benchmarks.rows import Row
from cl_ast.manager import Manager
from cl_ast.progress import Step
from cl_ast.training.options import TrainOptions
from streams.recorded_split import members_of

CLIPS = (5_000, 20_000)
LAYOUTS: dict[str, Callable[[Path, int], Path]] = {"gsc": scale_data.gsc, "fsc": scale_data.fsc}
EPOCHS = 2
# What the stages of a training are called here; their names in the progress of `add-task` begin so.
STAGES = {
    "reading training clips": "reading",
    "reading validation clips": "reading",
    "running the frozen layers": "probe",
    "fitting a first classifier": "probe",
    "training": "epochs",
    "learning to recognise": "routing",
    "setting the limit": "routing",
    "measuring": "measuring",
}
NO_LONGER_THAN_AN_EPOCH = ("listing", "fingerprinting", "rounding and calibrating", "routing", "measuring")
_GROWTH = 1.25  # of the time per clip; the machine's other work changes it by more than a tenth
_SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}


def measure(clips: Sequence[int] = CLIPS, layout: str = "gsc") -> list[Row]:
    """Return a row for each stage of each size, for its peak memory, and for the growth from the first to the last."""
    found = {count: _in_a_process(count, layout) for count in clips}
    rows = [row for count, figures in found.items() for row in _rows(count, layout, figures)]
    return rows + (_growth(layout, found) if len(found) > 1 else [])


def _in_a_process(clips: int, layout: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "benchmarks.scale", str(clips), layout, place]
        variables = {**os.environ, "CL_AST_CACHE": f"{place}/cache", "HF_HUB_OFFLINE": "1"}
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=variables)
    figures: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return figures


def _rows(clips: int, layout: str, figures: dict[str, float]) -> list[Row]:
    rows = []
    for stage, seconds in figures.items():
        if stage.startswith("MB"):
            rows.append(Row(f"{clips:,} clips, {layout}: {stage}", "", None, seconds, "MB", "", "", True, ""))
            continue
        is_bound = stage in NO_LONGER_THAN_AN_EPOCH
        ratio = seconds / figures["one epoch"]
        note = f"{1e6 * seconds / clips:.0f} µs per clip"
        rows.append(Row(f"{clips:,} clips, {layout}: {stage}", "one epoch", ratio, seconds, "s", "one run",
                        "≤ 1" if is_bound else "", not is_bound or ratio <= 1, note))  # fmt: skip
    return rows


def _growth(layout: str, found: dict[int, dict[str, float]]) -> list[Row]:
    few, many = min(found), max(found)
    rows = []
    for stage in NO_LONGER_THAN_AN_EPOCH:
        grown = (found[many][stage] / many) / (found[few][stage] / few)
        rows.append(Row(f"time per clip, {many:,} clips, {layout}: {stage}", f"{few:,} clips", grown, None, "",
                        "one run", f"≤ {_GROWTH}", grown <= _GROWTH, ""))  # fmt: skip
    return rows


class HasReadError(Exception):
    """Ends a training once it has read its clips."""


class Clock:
    """A progress callback that adds up how long each stage took.

    A step of 0 clips announces a stage, so the time before it belongs to the stage before. The time before any other
    step belongs to the stage of that step. On a CPU it is the processor's time, which other processes do not change.
    """

    def __init__(self, *, only_reading: bool = False) -> None:
        """
        Args:
            only_reading: raise HasReadError at the first step after the clips were read.
        """
        self.seconds: dict[str, float] = {}
        self._only_reading = only_reading
        self._stage = ""
        self._now = time.perf_counter if torch.cuda.is_available() else time.process_time
        self._last = self._now()

    def __call__(self, step: Step) -> None:
        """Count the time since the step before."""
        before, self._stage = self._stage, _stage(step)
        if self._only_reading and self._stage != "reading":
            raise HasReadError
        self.count(before if before and not step.done else self._stage)

    def count(self, stage: str) -> None:
        """Count the time since the last call for a stage."""
        now = self._now()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def _stage(step: Step) -> str:
    """Return what the stage of a step is called here; a new one keeps its own name."""
    return next((name for start, name in STAGES.items() if step.stage.startswith(start)), step.stage)


def stages(clips: int, layout: str, place: Path) -> dict[str, float]:
    """Make the data, add a task, add it again from cached features; return the seconds of each stage, and memory."""
    data = LAYOUTS[layout](place / "data", clips)
    backbone = _backbone(place / "backbone")
    clock = Clock()
    task = streams.load(layout, data=data)
    clock.count("listing")
    task.fingerprint()
    members_of(task)
    clock.count("fingerprinting")
    with Manager.open(place / "registry", backbone=str(backbone)) as manager:
        _ = manager.session.routing.space  # measured once a registry, whatever the task
        clock.count("opening")
        manager.add_task(task, options=TrainOptions(epochs=EPOCHS), progress=clock)
        clock.count("committing")
        again = Clock(only_reading=True)
        with suppress(HasReadError):
            manager.add_task(task, options=TrainOptions(epochs=1), progress=again, replace=True)
    seconds = {**clock.seconds, "one epoch": clock.seconds["epochs"] / EPOCHS}
    seconds["reading again, with cached features"] = again.seconds["reading"]
    return {**seconds, **_memory()}


def _backbone(folder: Path) -> Path:
    small = {} if torch.cuda.is_available() else {**_SMALL, "frequency_stride": 16, "time_stride": 16}
    torch.manual_seed(0)
    ASTModel(ASTConfig(**small)).save_pretrained(folder)
    return folder


def _memory() -> dict[str, float]:
    """Return the peak memory of this process, and of the GPU, in MB."""
    found = {"MB at the peak": peak_memory()}
    if torch.cuda.is_available():
        found["MB at the peak on the GPU"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options to those of `python -m benchmarks`."""
    parser.add_argument("--clips", type=int, nargs="+", default=CLIPS, help="scale: how many clips; several sizes")
    parser.add_argument("--layout", choices=LAYOUTS, default="gsc", help="scale: whose layout the clips have")


if __name__ == "__main__":
    print(json.dumps(stages(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))))
