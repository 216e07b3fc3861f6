"""Measures `predict` on many short clips, on a long one and with the router; transformers for comparison.

    python -m benchmarks.predicting [--clips 1000] [--rounds 3]

Clips of one second are made here. The pipeline pads them to 10.24 s, the only length that its model takes. Both run
AST-base with random weights; the rate of ast-mini is measured too. Set OMP_NUM_THREADS=1 for one core.
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from benchmarks.rows import Row
from benchmarks.timing import in_turns, ratio
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.audio.reading import Waveform
from cl_ast.audio.windows import Window
from cl_ast.backbone import pretrained
from cl_ast.manager import Manager
from cl_ast.router import RouterSpace, learn
from cl_ast.tasks.task_file import to_bytes
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from registry import BackboneRecord, NewVersion, Registry

LABELS = tuple(f"label {n}" for n in range(35))


def registry(place: Path, backbone_name: str, seconds: int = 1, tasks: int = 0) -> Path:
    """Make a registry with a task of clips of so many seconds, and with so many more tasks for the router."""
    backbone = pretrained.load(backbone_name)
    settings = TaskSettings("commands", parse("conformer"), LABELS, LogMelFrontEnd(100 * seconds))
    model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(0))
    new = NewVersion(method=settings.method.text, labels=LABELS, trainable_parameters=1, seed=0, seconds=1.0, source={})
    background = RouterSpace.of(backbone) if tasks else None
    with Registry.open(place) as one:
        kept = background.to_bytes() if background else b""
        one.set_backbone(BackboneRecord(backbone_name, backbone.fingerprint, backbone.parameters, backbone.bytes, kept))
        one.commit("commands", to_bytes(model, backbone, {}, _routing(background, seconds, 1.0)), new)
        for number in range(1, tasks + 1):
            model.settings = replace(settings, name=f"other {number}")
            one.commit(
                model.settings.name, to_bytes(model, backbone, {}, _routing(background, seconds, 0.8**number)), new
            )
    return place


def _routing(space: RouterSpace | None, seconds: int, smoothing: float) -> dict[str, Tensor]:
    """Return the routing of a task whose clips are noise of one colour."""
    if space is None:
        return {}
    described = space.describe([_noise(number, seconds, smoothing) for number in range(40)])
    generator = torch.Generator().manual_seed(0)
    routing = learn(
        described[:20],
        [0] * 20,
        described[20:],
        generator=generator,
        description_id=space.description_id,
        noise=space.noise,
    )
    return routing.tensors()


def _noise(number: int, seconds: int, smoothing: float = 1.0) -> Waveform:
    """Return noise: white, or the darker the smaller `smoothing` is."""
    white = np.random.default_rng(number).normal(0, 0.1, 16_000 * seconds)
    spectrum = np.fft.rfft(white) * smoothing ** np.linspace(0, 8, 8_000 * seconds + 1)
    return np.fft.irfft(spectrum).astype(np.float32)


def clips(place: Path, count: int, seconds: int = 1) -> list[Path]:
    """Write so many clips of noise to a new folder; return their paths."""
    place.mkdir()
    paths = [place / f"{number}.wav" for number in range(count)]
    for number, path in enumerate(paths):
        soundfile.write(path, _noise(number, seconds), 16_000)
    return paths


def many(folder: Path, count: int, repeat: int) -> list[Row]:
    """Return the speed on short clips, over AST-base compared with transformers' pipeline, and over ast-mini."""
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
        Manager.open(registry(folder / "r-mini", pretrained.MINI)) as mini,
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
        Row("short clips, predict, AST-base (how many times as fast)", "a loop of the HF pipeline", found, each,
            "ms a clip", width, "≥ 10", found >= 10, "16 clips a round, and 2 clips a round in the pipeline"),
        Row(f"{count} short clips, predict, ast-mini", "", None, rate, "clips a processor second", "once", "", True,
            ""),
    ]  # fmt: skip


def long(folder: Path, minutes: int = 5) -> list[Row]:
    """Return the speed on a long recording, window by window, for several hops."""
    path = folder / "long.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, minutes * 60 * 44_100), 44_100)
    rows = []
    with Manager.open(registry(folder / "r-long", pretrained.MINI)) as mini:
        for hop in (1.0, 0.5, 0.333):
            started = time.process_time()
            answers = list(mini.predict([path], task="commands", window=Window(1.0, hop)))
            speed = minutes * 60 / (time.process_time() - started)
            note = f"{len(answers)} windows of a {minutes} min flac at 44.1 kHz, with its decoding and resampling"
            note += "; frames are not shared at this hop" if hop == 0.333 else ""
            target = "" if hop == 0.333 else "≥ 100"
            rows.append(Row(f"--window 1 --hop {hop:g}, ast-mini", "real time", speed, None, "x", "once", target,
                            not target or speed >= 100, note))  # fmt: skip
    return rows


def auto(folder: Path, repeat: int) -> list[Row]:
    """Return the cost of the router, on clips that are far from every other task, so that one head answers."""
    rows = []
    for backbone, seconds in ((pretrained.MINI, 1), (pretrained.MINI, 5), (str(folder / "base"), 1)):
        name = f"{Path(backbone).name}, {seconds} s"
        paths = clips(folder / name, 32, seconds)
        with Manager.open(registry(folder / f"{name} routed", backbone, seconds, tasks=4)) as one:
            taken = in_turns(
                {"auto": partial(_all, one, paths, "auto"), "name": partial(_all, one, paths, "commands")},
                repeat,
            )
        found, width = ratio(taken, "auto", "name")
        each = 1000 * statistics.median(taken["auto"]) / len(paths)
        rows.append(
            Row(f"predict --task auto, {name}", "--task NAME", found, each, "ms a clip", width, "≤ 1.25",
                found <= 1.25, "32 clips, five tasks; the router runs a quarter of the layers, at least two")
        )  # fmt: skip
    return rows


def _all(manager: Manager, paths: list[Path], task: str) -> None:
    for _ in manager.predict(paths, task=task):
        pass


def measure(count: int = 1_000, repeat: int = 3) -> list[Row]:
    """Return all rows, offline."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*long(folder), *many(folder, count, repeat), *auto(folder, repeat)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for row in measure(options.clips, options.rounds):
        print(row, flush=True)
