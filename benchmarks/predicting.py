"""`predict` over many short clips, over a long one, and as a process of its own; transformers beside it.

    python -m benchmarks.predicting [--clips 1000] [--rounds 3]

Clips of one second are made here. The pipeline pads to 10.24 s, which is all that its model takes; both run AST-base
with random weights, and ast-mini's own rate is given beside it. Set OMP_NUM_THREADS=1 for one core.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from benchmarks.rows import Row
from benchmarks.timing import in_turns, ratio
from cl_ast import checkpoints
from cl_ast.adapters.spec import parse
from cl_ast.frontend import FrontEnd
from cl_ast.manager import Manager
from cl_ast.prediction import Window
from cl_ast.task_file import to_bytes
from cl_ast.task_model import TaskModel, TaskSettings
from registry import BackboneRecord, NewVersion, Registry

LABELS = tuple(f"label {n}" for n in range(35))


def registry(place: Path, trunk_name: str) -> Path:
    """With one task of one-second clips."""
    trunk = checkpoints.load(trunk_name)
    settings = TaskSettings("commands", parse("conformer"), LABELS, FrontEnd(100))
    model = TaskModel.fresh(settings, trunk, torch.Generator().manual_seed(0))
    new = NewVersion(method=settings.method.text, labels=LABELS, trainable_parameters=1, seed=0, seconds=1.0, source={})
    with Registry.open(place) as one:
        one.set_backbone(BackboneRecord(trunk_name, trunk.fingerprint, trunk.parameters, trunk.bytes))
        one.commit("commands", to_bytes(model, trunk, {}, {}), new)
    return place


def clips(place: Path, count: int) -> list[Path]:
    random = np.random.default_rng(0)
    place.mkdir()
    paths = [place / f"{number}.wav" for number in range(count)]
    for path in paths:
        soundfile.write(path, random.normal(0, 0.1, 16_000), 16_000)
    return paths


def many(folder: Path, count: int, repeat: int) -> list[Row]:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, ASTModel, pipeline

    torch.manual_seed(0)
    ASTModel(ASTConfig()).save_pretrained(folder / "base")
    paths = clips(folder / "clips", count)
    theirs: Any = pipeline(
        "audio-classification",
        model=ASTForAudioClassification(ASTConfig(num_labels=35)).eval(),
        feature_extractor=ASTFeatureExtractor(),
    )
    few = paths[:16]
    with (
        Manager.open(registry(folder / "r-base", str(folder / "base"))) as base,
        Manager.open(registry(folder / "r-mini", checkpoints.MINI)) as mini,
    ):
        taken = in_turns(
            {
                "pipeline": lambda: [theirs(soundfile.read(path, dtype="float32")[0]) for path in few[:2]],
                "predict": lambda: list(base.predict(few, task="commands")),
            },
            repeat,
        )
        list(mini.predict(few, task="commands"))
        started = time.process_time()
        list(mini.predict(paths, task="commands"))
        rate = count / (time.process_time() - started)
    each_clip = {"pipeline": [t / 2 for t in taken["pipeline"]], "predict": [t / len(few) for t in taken["predict"]]}
    found, width = ratio(each_clip, "pipeline", "predict")
    each = 1000 * statistics.median(taken["predict"]) / len(few)
    return [
        Row("short clips, predict, AST-base", "a loop of the HF pipeline", found, each, "times as fast; ms a clip",
            width, ">= 10", found >= 10, "16 clips beside 2 of the pipeline a round"),
        Row(f"{count} short clips, predict, ast-mini", "", None, rate, "clips a processor second", "once", "", True,
            ""),
    ]  # fmt: skip


def long(folder: Path, minutes: int = 5) -> list[Row]:
    path = folder / "long.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, minutes * 60 * 44_100), 44_100)
    rows = []
    with Manager.open(registry(folder / "r-long", checkpoints.MINI)) as mini:
        for hop in (1.0, 0.5, 0.333):
            started = time.process_time()
            answers = list(mini.predict([path], task="commands", window=Window(1.0, hop)))
            speed = minutes * 60 / (time.process_time() - started)
            note = f"{len(answers)} windows of a {minutes} min flac at 44.1 kHz, with its decoding and resampling"
            note += "; frames are not shared at this hop" if hop == 0.333 else ""
            target = "" if hop == 0.333 else ">= 100"
            rows.append(Row(f"--window 1 --hop {hop:g}, ast-mini", "real time", speed, None, "x", "once", target,
                            not target or speed >= 100, note))  # fmt: skip
    return rows


def started(words: list[str]) -> float:
    """Processor seconds of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def whole(folder: Path, repeat: int) -> list[Row]:
    place = registry(folder / "r-whole", checkpoints.MINI)
    (clip,) = clips(folder / "clip", 1)
    words = ["-m", "cli", "--registry", str(place), "predict", str(clip), "--task", "commands", "--format", "json"]
    mine, theirs = [], []
    for _ in range(repeat + 1):
        mine.append(started(words))
        theirs.append(started(["-c", "from transformers import ASTModel"]))
    found, width = ratio({"mine": mine[1:], "theirs": theirs[1:]}, "mine", "theirs")
    return [Row("one predict, whole process", "python -c 'from transformers import ASTModel'", found,
                statistics.median(mine[1:]), "x; processor seconds", width, "<= 1.15", found <= 1.15,
                f"SQLAlchemy's import is most of it; theirs: {statistics.median(theirs[1:]):.2f} s")]  # fmt: skip


def measure(count: int = 1_000, repeat: int = 3) -> list[Row]:
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*whole(folder, repeat), *long(folder), *many(folder, count, repeat)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for row in measure(options.clips, options.rounds):
        print(row, flush=True)
