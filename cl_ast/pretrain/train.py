"""Trains the backbone: batches, two optimisers, a running average of the weights, checkpoints and a log."""

import copy
import csv
import logging
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, distributed
from torch.multiprocessing.spawn import start_processes

from cl_ast.pretrain.augment import LENGTHS, Augmenter, Batch
from cl_ast.pretrain.cache import KINDS, Clips
from cl_ast.pretrain.losses import losses, total
from cl_ast.pretrain.model import Pretraining, Shape, descriptors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the training.

    Attributes:
        seed: the seed of the weights, the batches and the dropped patches.
        steps: optimiser steps. The learning rate warms up, then decays to zero along a cosine.
        batch_frames: the frames of a batch. A batch has as many clips as give this number of frames.
        learning_rate: the highest learning rate.
        weight_decay: the weight decay of both optimisers.
        warmup_steps: steps over which the learning rate grows to its highest value.
        dropped_patches: the share of the patches left out of a step, for speed.
        full_at_end: the share of the steps, at the end, that drop no patch.
        easy_at_start: the share of the steps over which noise and channels grow to their full strength.
        average_decay: the decay of the running average of the weights. The average is what is saved.
        validate_every: steps from one validation, which also saves, to the next.
        bf16: whether to train in bfloat16 mixed precision.
        workers: processes that train together, each with one thread.
        minutes: if positive, the schedule ends by then, and the result depends on the machine's speed.
        shape: the sizes of the backbone.
    """

    seed: int = 1
    steps: int = 6_500
    batch_frames: int = 16_384
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    dropped_patches: float = 0.3
    full_at_end: float = 0.08
    easy_at_start: float = 0.6
    average_decay: float = 0.998
    validate_every: int = 200
    bf16: bool = False
    workers: int = 1
    minutes: float = 0.0
    shape: Shape = field(default_factory=Shape)


def train(train_clips: Clips, held_out: Clips, out: Path, options: Options) -> None:
    """Train from scratch, and save the averaged backbone to `out/backbone` at every validation and at the end.

    If there are several workers, each is a process of one thread that draws its own clips, and their gradients are
    averaged. On a busy machine this is faster than threads that wait for each other inside every operation.
    """
    out.mkdir(parents=True, exist_ok=True)
    if options.workers == 1:
        _Worker(0, train_clips, held_out, out, options).run()
        return
    meeting = Path(tempfile.mkdtemp()) / "meeting"
    # The processes are forked, so that they share one copy of the clips in memory.
    context = start_processes(  # type: ignore[no-untyped-call]
        _run_process,
        (meeting, train_clips, held_out, out, options),
        options.workers,
        join=False,
        start_method="fork",
    )
    while not context.join():
        pass


def _run_process(rank: int, meeting: Path, train_clips: Clips, held_out: Clips, out: Path, options: Options) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=options.workers)
    _Worker(rank, train_clips, held_out, out, options).run()
    distributed.destroy_process_group()


class _Worker:
    """One process of a training. The worker of rank 0 also averages the weights, validates and saves."""

    def __init__(self, rank: int, train_clips: Clips, held_out: Clips, out: Path, options: Options) -> None:
        torch.manual_seed(options.seed)
        self.rank, self.out, self.options = rank, out, options
        # All workers draw the same batch lengths and dropped patches, but different clips.
        self.common = np.random.default_rng([options.seed, 1_000])
        self.own = np.random.default_rng([options.seed, 1_001, rank])
        self.model = Pretraining(options.shape)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.augmenter = Augmenter(train_clips, stride=options.shape.time_stride)
        self.validation = _validation_batches(held_out, options) if rank == 0 else []
        self.optimisers = _optimisers(self.model, options)
        self.started = time.monotonic()
        self.clips_seen = 0
        self.sums: dict[str, float] = {}

    def run(self) -> None:
        """Train to the end of the schedule."""
        options = self.options
        step, progress = 0, 0.0
        while progress < 1:
            step += 1
            progress = _progress(step, time.monotonic() - self.started, options)
            terms, size = self._step(step, progress)
            if self.rank:
                continue
            _update_average(self.average, self.model, min(options.average_decay, step / (step + 10)))
            self.clips_seen += size // options.workers * options.workers
            for name, term in terms.items():
                self.sums[name] = self.sums.get(name, 0.0) + float(term.detach())
            if step % options.validate_every == 0 or progress >= 1:
                self._validate_and_save(step)

    def _step(self, step: int, progress: float) -> tuple[dict[str, Tensor], int]:
        """Take one optimiser step. Return the terms of the loss and the number of clips over all workers."""
        options, model = self.options, self.model
        scale = min(1.0, step / options.warmup_steps) * 0.5 * (1 + np.cos(np.pi * progress))
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = options.learning_rate * scale
        frames, size = _batch_size(self.common, options)
        share = options.dropped_patches if progress < 1 - options.full_at_end else 0.0
        keep = _kept_patches(model, frames, share, self.common)
        hard = min(1.0, progress / options.easy_at_start)
        batch = self.augmenter.batch(self.own, size // options.workers, frames, hard)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            predicted = model(batch.features, keep)
        wanted = model.descriptor_norm(descriptors(batch.features))
        terms = losses({k: v.float() for k, v in predicted.items()}, batch, wanted)
        model.zero_grad(set_to_none=True)
        total(terms).backward()  # type: ignore[no-untyped-call]
        _average_gradients(model, options.workers)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        for optimiser in self.optimisers:
            optimiser.step()
        return terms, size

    def _validate_and_save(self, step: int) -> None:
        """Validate the averaged weights, append a row to the log, and save the backbone and a checkpoint."""
        options, table = self.options, self.out / "log.csv"
        steps = step % options.validate_every or options.validate_every
        row: dict[str, float] = {
            "step": step,
            "clips": self.clips_seen,
            "seconds": round(time.monotonic() - self.started),
        }
        row |= {f"train_{name}": round(value / steps, 4) for name, value in self.sums.items()}
        row |= {f"held_{name}": round(value, 4) for name, value in validate(self.average, self.validation).items()}
        _append_row(table, row, fresh=not table.exists())
        log.info(" ".join(f"{name}={value}" for name, value in row.items()))
        self.sums = {}
        save(self.average, self.out / "backbone")
        checkpoint = {"step": step, "model": self.average.state_dict(), "options": asdict(options)}
        torch.save(checkpoint, self.out / "state.pt")


@torch.no_grad()
def validate(model: Pretraining, batches: list[Batch]) -> dict[str, float]:
    """Return accuracies (0 to 1) and losses, averaged over batches of clips that were never trained on."""
    model.eval()
    values: dict[str, list[float]] = {}
    for batch in batches:
        out = model(batch.features)
        terms = losses(out, batch, model.descriptor_norm(descriptors(batch.features)))
        for name in ("prosody", "phonemes", "pitch", "descriptors"):
            values.setdefault(name, []).append(float(terms[name]))
        unmixed = batch.family.max(1).values > 0.99
        right = out["family"].argmax(1) == batch.family.argmax(1)
        sounds = unmixed & (batch.labels["kind"] == KINDS.index("sound"))
        values.setdefault("family", []).append(float(right[sounds].float().mean()))
        for name in ("word", "language", "voice", "mood"):
            known = batch.labels[name] >= 0
            right = out[name].argmax(1) == batch.labels[name]
            values.setdefault(name, []).append(float(right[known].float().mean()))
    model.train()
    return {name: float(np.nanmean(each)) for name, each in values.items()}


def save(model: Pretraining, folder: Path) -> None:
    """Save the backbone alone, in half precision and in transformers' format."""
    stock = copy.deepcopy(model.backbone.stock).half()
    stock.config.cl_ast_pooling = "mean+std"  # what the heads for a clip were trained on
    stock.save_pretrained(folder)


def _batch_size(rng: Generator, options: Options) -> tuple[int, int]:
    """Return the frames of each clip of the next batch, and the number of its clips."""
    frames = int(rng.choice(list(LENGTHS), p=np.array(list(LENGTHS.values())) / sum(LENGTHS.values())))
    return frames, max(2, options.batch_frames // frames)


def _kept_patches(model: Pretraining, frames: int, dropped: float, rng: Generator) -> Tensor | None:
    """Return the indices of the patches that a step uses, or None if no patch is dropped."""
    if dropped <= 0:
        return None
    count = model.backbone.rows * model.backbone.columns(frames)
    return torch.from_numpy(np.sort(rng.permutation(count)[: max(1, round(count * (1 - dropped)))]))


def _validation_batches(held_out: Clips, options: Options) -> list[Batch]:
    """Return the batches to validate on. They do not depend on the seed of the training."""
    augmenter, rng = Augmenter(held_out, stride=options.shape.time_stride), np.random.default_rng(0)
    size = options.batch_frames
    return [augmenter.batch(rng, max(2, size // frames), frames, 0.5) for frames in (64, 96, 128, 128, 192, 256, 400)]


def _optimisers(model: Pretraining, options: Options) -> list[torch.optim.Optimizer]:
    """Return Muon (Jordan et al., 2024) for the matrices of the layers, and AdamW for all other parameters.

    After 220 steps of 80 clips the loss of the sound families was 2.0 with both, and 2.7 with AdamW alone
    (docs/ast-mini.md).
    """
    matrices = [p for p in model.backbone.stock.layers.parameters() if p.ndim == 2]
    with_muon = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in with_muon]
    return [
        torch.optim.Muon(
            matrices, lr=options.learning_rate, weight_decay=options.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(
            [
                {"params": [p for p in rest if p.ndim >= 2], "weight_decay": options.weight_decay},
                {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=options.learning_rate, betas=(0.9, 0.98), eps=1e-6,
        ),
    ]  # fmt: skip


def _progress(step: int, elapsed: float, options: Options) -> float:
    """Return the share of the schedule that is done (0 to 1): by steps, or by the clock if that is further."""
    clock = torch.tensor(elapsed / 60 / options.minutes if options.minutes else 0.0)
    if options.workers > 1 and options.minutes:
        distributed.broadcast(clock, 0)
    return min(1.0, max(step / options.steps, float(clock)))


def _average_gradients(model: Pretraining, workers: int) -> None:
    """Average the gradients over the workers, in one message."""
    if workers == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    distributed.all_reduce(flat)
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient) / workers)


@torch.no_grad()
def _update_average(average: Pretraining, model: Pretraining, decay: float) -> None:
    """Move the averaged weights towards the model's, and copy its buffers."""
    for averaged, parameter in zip(average.parameters(), model.parameters(), strict=True):
        averaged.lerp_(parameter, 1 - decay)
    for copied, buffer in zip(average.buffers(), model.buffers(), strict=True):
        copied.copy_(buffer)


def _append_row(path: Path, row: dict[str, float], *, fresh: bool) -> None:
    with path.open("w" if fresh else "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)
