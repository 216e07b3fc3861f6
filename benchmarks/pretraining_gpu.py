"""Measures a pretraining on a GPU: clips per second, how long the GPU is idle, and whether its clips are the CPU's.

`python -m benchmarks.pretraining_gpu` renders a few clips on all cores, trains on them for some seconds, and prints:

- the clips per second of a training, and the milliseconds of a step;
- the share of that time in which the GPU computes nothing (its kernels' time is measured in other steps, by the
  profiler, which slows the host down but not the kernels);
- the level, padding, mixtures and voiced frames of clips made on the GPU and on the CPU, with the distance of their
  means in standard errors. Beyond 4 the two differ.

`--device cpu` measures the CPU, without an idle share.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from cl_ast.backbone.device import pick_device
from cl_ast.pretrain import cache, mel
from cl_ast.pretrain.augment import Augmenter
from cl_ast.pretrain.cache import Clips
from cl_ast.pretrain.draws import Draws
from cl_ast.pretrain.options import Options
from cl_ast.pretrain.train import Run, Worker, tf32

_WARM_UP, _PROFILED = 20, 50  # steps
_BATCHES, _SIZE, _FRAMES = 40, 250, 96  # of the clips that are compared


def main(folder: Path, device: torch.device, batch_frames: int, seconds: float, rendered: int) -> None:
    """Render `rendered` clips of each kind to the folder, and print the measurements."""
    started = time.monotonic()
    cache.render(folder, 1, dict.fromkeys(cache.KINDS, 1), rendered, os.cpu_count() or 1)
    print(f"rendering up to {3 * rendered} clips on {os.cpu_count()} cores: {time.monotonic() - started:.1f} s")
    clips = cache.load(folder, dict.fromkeys(cache.KINDS, range(1)))
    options = Options(batch_frames=batch_frames, bf16=True)
    with tf32(device):
        _speed(Worker(0, Run(clips, clips, folder, options, device, None, {})), seconds)
    if device.type != "cpu":
        _compare(clips, device)


def _speed(worker: Worker, seconds: float) -> None:
    """Print the speed of a training and the idle share of its GPU."""
    device, seen = worker.device, 0

    def step() -> None:
        nonlocal seen
        worker.step += 1
        _, size = worker.take_step(0.5)
        seen += size

    _timed(step, device, steps=_WARM_UP)
    seen = 0
    steps, wall = _timed(step, device, seconds=seconds)
    print(
        f"{device}: {seen / wall:,.0f} clips per second, {1e3 * wall / steps:.1f} ms a step of {seen / steps:.0f} clips"
    )
    if device.type == "cuda":
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            _timed(step, device, steps=_PROFILED)
        busy = sum(event.self_device_time_total for event in found.key_averages()) / 1e6 / _PROFILED
        print(
            f"{device}: {1e3 * busy:.1f} ms of kernels a step, so it is idle {1 - busy * steps / wall:.0%} of the time"
        )
        print(f"{device}: {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB of memory at most")


def _timed(
    step: Callable[[], None], device: torch.device, *, steps: int = 0, seconds: float = 0.0
) -> tuple[int, float]:
    """Take a number of steps, or steps for some time. Return their number and the seconds until the GPU is done."""
    started, taken = time.monotonic(), 0
    while taken < steps or time.monotonic() - started < seconds:
        step()
        taken += 1
        # The host may queue steps far ahead of the GPU, which would make the last ones run after the time is over.
        if device.type == "cuda" and taken % 50 == 0:
            torch.cuda.synchronize(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return taken, time.monotonic() - started


def _compare(clips: Clips, device: torch.device) -> None:
    """Print the distributions of clips that are made on the CPU and on a device."""
    ours, theirs = _statistics(clips, device), _statistics(clips, torch.device("cpu"))
    print(f"{_BATCHES * _SIZE} clips of {_FRAMES} frames: mean and standard deviation, {device} and CPU")
    for name, one in ours.items():
        other = theirs[name]
        error = ((one.var() + other.var()) / len(one)).sqrt()
        spreads = f"{one.mean():9.4f} ± {one.std():.4f}   {other.mean():9.4f} ± {other.std():.4f}"
        print(f"{name:24s} {spreads}   {float((one.mean() - other.mean()) / error):+.1f} standard errors")


def _statistics(clips: Clips, device: torch.device) -> dict[str, Tensor]:
    augmenter, found = Augmenter(clips, stride=16, device=device), []
    for number in range(_BATCHES):
        batch = augmenter.batch(Draws(device, 1, number), _SIZE, _FRAMES, 1.0).to("cpu")
        empty = (batch.features - mel.PADDING).abs() < 1e-6
        energy = torch.where(empty, torch.nan, batch.features - mel.PADDING)
        found.append(
            {
                "level (normalised)": energy.nanmean((1, 2)),
                "low to high bands": energy[..., 96:].nanmean((1, 2)) - energy[..., :32].nanmean((1, 2)),
                "padded or masked cells": empty.float().mean((1, 2)),
                "mixtures": (batch.family.max(1).values < 0.999).float(),
                "voiced frames": batch.pitch[..., 1].mean(1),
                "phonemes per column": batch.phonemes.sum(2).mean(1),
                "clips with a word": (batch.labels["word"] >= 0).float(),
            }
        )
    return {name: torch.cat([each[name] for each in found]).double() for name in found[0]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretraining_gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder for the clips; a temporary one by default")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--batch-frames", type=int, default=65_536)
    parser.add_argument("--seconds", type=float, default=20.0, help="of training that is timed")
    parser.add_argument("--clips", type=int, default=400, help="of each kind, to render")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = given.cache or Path(temporary)
        main(place, pick_device(given.device), given.batch_frames, given.seconds, given.clips)
