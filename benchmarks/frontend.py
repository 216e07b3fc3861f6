"""Compares the front end with transformers' feature extractor, and resampling with torchaudio's default."""

import numpy as np
import soxr
import torch
import torchaudio
from transformers import ASTFeatureExtractor

from benchmarks.rows import Row
from benchmarks.timing import in_turns, median_ms, ratio
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone import pretrained
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.trainer import trainable

ROUNDS = 9
# Clips, seconds, frames and the target.
BATCHES = ((1, 1.0, 100, 0.5), (16, 1.0, 100, 0.5), (16, 5.0, 500, 0.8), (16, 10.0, 1024, 0.8))
_PEER = "transformers' ASTFeatureExtractor"


def measure() -> list[Row]:
    """Return rows for log-mel features, for resampling, and for the front end's share of a training step."""
    torch.set_num_threads(1)
    return [*(_features(*batch) for batch in BATCHES), *(_resampling(*clip) for clip in RATES), _share()]


def _features(count: int, seconds: float, frames: int, target: float) -> Row:
    random = np.random.default_rng(0)
    clips = [0.1 * random.normal(size=round(16_000 * seconds)).astype(np.float32) for _ in range(count)]
    theirs, ours = ASTFeatureExtractor(max_length=frames), LogMelFrontEnd(frames)
    runs = {
        "theirs": lambda: theirs(clips, sampling_rate=16_000, return_tensors="pt"),
        "ours": lambda: ours(clips),
    }
    times = in_turns(runs, ROUNDS)
    found, spread = ratio(times, "ours", "theirs")
    what = f"log-mel, {count} x {seconds:g} s"
    return Row(what, _PEER, found, median_ms(times, "ours"), "ms", spread, f"≤ {target:.2f}", found <= target, "")


RATES = ((44_100, 1.0), (44_100, 10.0), (48_000, 10.0))


def _resampling(rate: int, seconds: float) -> Row:
    clip = np.random.default_rng(0).normal(size=round(rate * seconds)).astype(np.float32)
    tensor = torch.from_numpy(clip)
    runs = {
        "theirs": lambda: torchaudio.functional.resample(tensor, rate, 16_000),
        "ours": lambda: soxr.resample(clip, rate, 16_000, quality="HQ"),
    }
    times = in_turns(runs, ROUNDS)
    found, spread = ratio(times, "ours", "theirs")
    note = "torchaudio's default loses 1.8 dB at 7 kHz and aliases at −11 dB; soxr HQ does neither"
    what = f"resampling {rate / 1000:g} kHz to 16, {seconds:g} s"
    against = "torchaudio's default"
    return Row(what, against, found, median_ms(times, "ours"), "ms", spread, "≤ 1.00", found <= 1, note)


def _share() -> Row:
    """Return the front end's share of a step over ast-mini, the smallest backbone, while nothing is cached yet."""
    backbone = pretrained.load("ast-mini")
    front_end = LogMelFrontEnd(100)
    settings = TaskSettings("bench", parse("lora"), ("a", "b"), front_end)
    model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(0))
    random = np.random.default_rng(0)
    clips = [random.normal(size=16_000).astype(np.float32) for _ in range(16)]
    features = front_end(clips)

    def step() -> None:
        with trainable(model.trainable()):
            model.logits(features).square().sum().backward()  # type: ignore[no-untyped-call]

    times = in_turns({"front end": lambda: front_end(clips), "step": step}, ROUNDS)
    found, spread = ratio(times, "front end", "step")
    note = "features are cached after the first epoch: over 30 epochs the share is a thirtieth of this"
    what = "front end, share of one step of LoRA on ast-mini, 16 x 1 s, in the first epoch"
    ms = median_ms(times, "front end")
    return Row(what, "the step", found, ms, "ms", spread, "≤ 0.05 of a training's steps", found / 30 <= 0.05, note)
