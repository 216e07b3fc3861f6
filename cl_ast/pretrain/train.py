"""The loop: batches, one optimiser, a running average of the weights, checkpoints and a small log."""

import copy
import csv
import logging
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, distributed
from torch.multiprocessing.spawn import start_processes

from cl_ast.pretrain.augment import LENGTHS, Augmenter, Batch
from cl_ast.pretrain.cache import Clips
from cl_ast.pretrain.losses import losses, total
from cl_ast.pretrain.model import Pretraining, Shape, descriptors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How to train.

    Attributes:
        steps: optimiser steps; the learning rate warms up, then falls along a cosine to nothing.
        batch_frames: clips of a batch are as many as hold this many frames together.
        drop: share of the patches left out of a step, for speed; none in the last `whole` of the steps.
        ease: share of the steps over which noise and channels become as hard as they get.
        minutes: where positive, the schedule ends by then; such a run depends on the machine's speed.
        average: decay of the running average of the weights, which is what is kept.
    """

    seed: int = 1
    steps: int = 6_500
    batch_frames: int = 16_384
    rate: float = 2e-3
    decay: float = 0.05
    warmup: int = 100
    drop: float = 0.3
    whole: float = 0.08
    ease: float = 0.6
    average: float = 0.998
    every: int = 200
    bf16: bool = False
    workers: int = 1
    minutes: float = 0.0
    shape: Shape = field(default_factory=Shape)


def _lengths(rng: Generator, options: Options) -> tuple[int, int]:
    """Frames of the next batch and clips in it."""
    frames = int(rng.choice(list(LENGTHS), p=np.array(list(LENGTHS.values())) / sum(LENGTHS.values())))
    return frames, max(2, options.batch_frames // frames)


def _kept(model: Pretraining, frames: int, share: float, rng: Generator) -> Tensor | None:
    """Which patches of this step's clips are used; all of them where the share to drop is zero."""
    if share <= 0:
        return None
    count = model.backbone.rows * model.backbone.columns(frames)
    return torch.from_numpy(np.sort(rng.permutation(count)[: max(1, round(count * (1 - share)))]))


@torch.no_grad()
def validate(model: Pretraining, batches: list[Batch]) -> dict[str, float]:
    """Accuracies and losses over fixed batches of clips that were never trained on."""
    model.eval()
    hits: dict[str, list[float]] = {}
    for batch in batches:
        out = model(batch.features)
        terms = losses(out, batch, model.wanted(descriptors(batch.features)))
        for name in ("prosody", "phonemes", "pitch", "descriptors"):
            hits.setdefault(name, []).append(float(terms[name]))
        clean = batch.family.max(1).values > 0.99
        right = out["family"].argmax(1) == batch.family.argmax(1)
        hits.setdefault("family", []).append(float(right[clean & (batch.labels["kind"] == 2)].float().mean()))
        for name in ("word", "language", "voice", "mood"):
            known = batch.labels[name] >= 0
            hits.setdefault(name, []).append(float((out[name].argmax(1) == batch.labels[name])[known].float().mean()))
    model.train()
    return {name: float(np.nanmean(values)) for name, values in hits.items()}


def save(model: Pretraining, folder: Path) -> None:
    """The backbone alone, in half precision and transformers' format."""
    stock = copy.deepcopy(model.backbone.stock).half()
    stock.save_pretrained(folder)


def train(train_clips: Clips, held_out: Clips, out: Path, options: Options) -> None:
    """Train from scratch; the averaged backbone is saved to `out/backbone` at every validation and at the end.

    With more than one worker, each is a process of one thread with its own clips, and gradients are
    averaged: on a busy machine that wastes less than threads that wait for each other inside every
    operation.
    """
    out.mkdir(parents=True, exist_ok=True)
    if options.workers == 1:
        _worker(0, train_clips, held_out, out, options)
        return
    meeting = Path(tempfile.mkdtemp()) / "meeting"
    # Forked, so that the clips lie in memory once.
    context = start_processes(  # type: ignore[no-untyped-call]
        _joined,
        (meeting, train_clips, held_out, out, options),
        options.workers,
        join=False,
        start_method="fork",
    )
    while not context.join():
        pass


def _joined(rank: int, meeting: Path, *rest: Any) -> None:
    workers = rest[-1].workers
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=workers)
    _worker(rank, *rest)
    distributed.destroy_process_group()


def _worker(rank: int, train_clips: Clips, held_out: Clips, out: Path, options: Options) -> None:
    torch.manual_seed(options.seed)
    common = np.random.default_rng([options.seed, 1_000])  # lengths and dropped patches: the same in every worker
    own = np.random.default_rng([options.seed, 1_001, rank])
    model = Pretraining(options.shape)
    average = copy.deepcopy(model).requires_grad_(False)
    drawer = Augmenter(train_clips, stride=options.shape.time_stride)
    fixed = _fixed(held_out, options) if rank == 0 else []
    optimisers = _optimisers(model, options)
    started, seen, step, progress = time.monotonic(), 0, 0, 0.0
    sums: dict[str, float] = {}
    while progress < 1:
        step += 1
        progress = _progress(step, time.monotonic() - started, options)
        scale = min(1.0, step / options.warmup) * 0.5 * (1 + np.cos(np.pi * progress))
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = options.rate * scale
        frames, size = _lengths(common, options)
        keep = _kept(model, frames, options.drop if progress < 1 - options.whole else 0.0, common)
        batch = drawer.batch(own, size // options.workers, frames, min(1.0, progress / options.ease))
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            predicted = model(batch.features, keep)
        terms = losses({k: v.float() for k, v in predicted.items()}, batch, model.wanted(descriptors(batch.features)))
        model.zero_grad(set_to_none=True)
        total(terms).backward()  # type: ignore[no-untyped-call]
        _share_gradients(model, options.workers)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        for optimiser in optimisers:
            optimiser.step()
        if rank:
            continue
        _follow(average, model, min(options.average, step / (step + 10)))
        seen += size // options.workers * options.workers
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.detach())
        if step % options.every == 0 or progress >= 1:
            row: dict[str, float] = {
                "step": step,
                "clips": seen,
                "seconds": round(time.monotonic() - started),
            }
            row |= {f"train_{k}": round(v / (step % options.every or options.every), 4) for k, v in sums.items()}
            row |= {f"held_{k}": round(v, 4) for k, v in validate(average, fixed).items()}
            _append(out / "log.csv", row, fresh=not (out / "log.csv").exists())
            log.info(" ".join(f"{k}={v}" for k, v in row.items()))
            sums = {}
            save(average, out / "backbone")
            torch.save({"step": step, "model": average.state_dict(), "options": asdict(options)}, out / "state.pt")


def _fixed(held_out: Clips, options: Options) -> list[Batch]:
    """The batches to validate on: the same clips, mixed the same way, whatever is trained."""
    test, rng = Augmenter(held_out, stride=options.shape.time_stride), np.random.default_rng(0)
    size = options.batch_frames
    return [test.batch(rng, max(2, size // frames), frames, 0.5) for frames in (64, 96, 128, 128, 192, 256, 400)]


def _optimisers(model: Pretraining, options: Options) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) for the matrices of the layers, AdamW for all the rest.

    In 220 steps of 80 clips it took the families' loss to 2.0 where AdamW alone was at 2.7 (docs/ast-
    mini.md).
    """
    matrices = [p for p in model.backbone.stock.layers.parameters() if p.ndim == 2]
    mine = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in mine]
    return [
        torch.optim.Muon(
            matrices, lr=options.rate, weight_decay=options.decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(
            [
                {"params": [p for p in rest if p.ndim >= 2], "weight_decay": options.decay},
                {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=options.rate, betas=(0.9, 0.98), eps=1e-6,
        ),
    ]  # fmt: skip


def _progress(step: int, elapsed: float, options: Options) -> float:
    """How far through the schedule: by steps, or by the clock where that is further."""
    clock = torch.tensor(elapsed / 60 / options.minutes if options.minutes else 0.0)
    if options.workers > 1 and options.minutes:
        distributed.broadcast(clock, 0)
    return min(1.0, max(step / options.steps, float(clock)))


def _share_gradients(model: Pretraining, workers: int) -> None:
    """Average the gradients over the workers, in one message."""
    if workers == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    distributed.all_reduce(flat)
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient) / workers)


@torch.no_grad()
def _follow(average: Pretraining, model: Pretraining, keep: float) -> None:
    for mine, theirs in zip(average.parameters(), model.parameters(), strict=True):
        mine.lerp_(theirs, 1 - keep)
    for held, live in zip(average.buffers(), model.buffers(), strict=True):
        held.copy_(live)


def _append(path: Path, row: dict[str, float], *, fresh: bool) -> None:
    with path.open("w" if fresh else "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)
