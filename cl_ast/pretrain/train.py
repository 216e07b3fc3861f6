"""Trains the backbone: batches, two optimisers, a running average of the weights, checkpoints and a log."""

import copy
import csv
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, distributed
from torch.multiprocessing.spawn import start_processes

from cl_ast.errors import TrainingError
from cl_ast.pretrain import checkpoint, optimising
from cl_ast.pretrain.augment import LENGTHS, Augmenter
from cl_ast.pretrain.cache import Clips
from cl_ast.pretrain.checkpoint import Checkpoint
from cl_ast.pretrain.draws import Draws
from cl_ast.pretrain.losses import losses, total
from cl_ast.pretrain.model import Pretraining, descriptors
from cl_ast.pretrain.options import Options
from cl_ast.pretrain.validating import validate, validation_batches

log = logging.getLogger(__name__)

# Keys of the draws that all workers share (batch lengths and dropped patches), and of the clips of one worker.
_SHARED, _OWN = 1_000, 1_001


@dataclass(frozen=True, slots=True)
class Run:
    """What every process of a training is given.

    Attributes:
        clips, held_out: the clips to train and to validate on.
        out: the folder of the results.
        device: where the training runs.
        resumed: the state to go on from, if any.
        identity: what a later process must have in common to resume this training.
    """

    clips: Clips
    held_out: Clips
    out: Path
    options: Options
    device: torch.device
    resumed: Checkpoint | None
    identity: dict[str, Any]


def train(
    train_clips: Clips,
    held_out: Clips,
    out: Path,
    options: Options,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
) -> None:
    """Train, and save the averaged backbone to `out/backbone` at every validation and at the end.

    `out` also gets the options (run.json), the log (log.csv) and the checkpoint (state.pt).

    If there are several workers, each is a process of one thread that draws its own clips, and their gradients are
    averaged. On a busy machine this is faster than threads that wait for each other inside every operation.

    Args:
        device: the CPU, or a GPU, which also makes the batches.
        resume: go on from the last validation of an interrupted training in `out`. On a CPU, a training that ends by
            its steps gives exactly the same weights as if it had not been interrupted.

    Raises:
        TrainingError: there is nothing to resume, or it is of another training; or several workers for a GPU.
    """
    device = torch.device(device)
    if device.type != "cpu" and options.workers > 1:
        raise TrainingError(f"{options.workers} workers cannot share {device}; give one, or train on the CPU")
    identity = checkpoint.identity(options, train_clips, held_out)
    resumed = checkpoint.read(out / "state.pt", identity) if resume else None
    out.mkdir(parents=True, exist_ok=True)
    sizes = {"clips": len(train_clips), "held_out": len(held_out), "frames": len(train_clips.mel)}
    notes = {"device": device.type, **sizes, **asdict(options)}
    (out / "run.json").write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    run = Run(train_clips, held_out, out, options, device, resumed, identity)
    if options.workers == 1:
        with tf32(device):
            Worker(0, run).run()
        return
    meeting = Path(tempfile.mkdtemp()) / "meeting"
    # The processes are forked, so that they share one copy of the clips in memory.
    context = start_processes(  # type: ignore[no-untyped-call]
        _run_process, (meeting, run), options.workers, join=False, start_method="fork"
    )
    while not context.join():
        pass


def _run_process(rank: int, meeting: Path, run: Run) -> None:
    torch.set_num_threads(1)
    workers = run.options.workers
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=workers)
    Worker(rank, run).run()
    distributed.destroy_process_group()


class Worker:
    """One process of a training. The worker of rank 0 also averages the weights, validates and saves."""

    def __init__(self, rank: int, run: Run) -> None:
        options, device = run.options, run.device
        torch.manual_seed(options.seed)
        self.rank, self.out, self.options, self.device, self.identity = rank, run.out, options, device, run.identity
        # The weights are drawn on the CPU, so that a seed gives the same ones everywhere.
        self.model = Pretraining(options.shape).to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        stride = options.shape.time_stride
        self.augmenter = Augmenter(run.clips, stride=stride, device=device)
        batches = (run.held_out, options.validation_frames, stride, device)
        self.validation = validation_batches(*batches) if rank == 0 else []
        self.optimisers = optimising.optimisers(self.model, options)
        self.step, self.clips_seen, self.earlier = 0, 0, 0.0
        self.rows: list[dict[str, float]] = []
        self.sums: dict[str, Tensor] = {}
        if run.resumed:
            self._restore(run.resumed)
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """The time of the training so far, with that before it was resumed."""
        return self.earlier + time.monotonic() - self.started

    def run(self) -> None:
        """Train to the end of the schedule."""
        options = self.options
        progress = _progress(self.step, self.seconds, options) if self.step else 0.0
        while progress < 1:
            self.step += 1
            progress = _progress(self.step, self.seconds, options)
            terms, size = self.take_step(progress)
            if self.rank:
                continue
            self.clips_seen += size // options.workers * options.workers
            # The sums stay on the device: reading them would make the host wait in every step.
            self.sums = {name: self.sums.get(name, 0.0) + term for name, term in terms.items()}
            if self.step % options.validate_every == 0 or progress >= 1:
                self._validate_and_save()

    def take_step(self, progress: float) -> tuple[dict[str, Tensor], int]:
        """Take one optimiser step. Return the terms of the loss and the number of clips over all workers."""
        options, model, step = self.options, self.model, self.step
        scale = min(1.0, step / options.warmup_steps) * 0.5 * (1 + np.cos(np.pi * progress))
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = options.learning_rate * scale
        shared = Draws(self.device, options.seed, _SHARED, step)
        frames, size = _batch_size(shared.host, options)
        share = options.dropped_patches if progress < 1 - options.full_at_end else 0.0
        keep = _kept_patches(model, frames, share, shared)
        hard = min(1.0, progress / options.easy_at_start)
        own = Draws(self.device, options.seed, _OWN, self.rank, step)
        batch = self.augmenter.batch(own, size // options.workers, frames, hard)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=options.bf16):
            predicted = model(batch.features, keep)
        wanted = model.descriptor_norm(descriptors(batch.features))
        terms = losses({k: v.float() for k, v in predicted.items()}, batch, wanted)
        model.zero_grad(set_to_none=True)
        total(terms).backward()  # type: ignore[no-untyped-call]
        optimising.average_gradients(model, options.workers)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        for optimiser in self.optimisers:
            optimiser.step()
        if self.rank == 0:
            optimising.update_average(self.average, model, min(options.average_decay, step / (step + 10)))
        return {name: term.detach() for name, term in terms.items()}, size

    def _validate_and_save(self) -> None:
        """Validate the averaged weights, and save a checkpoint, the log and the backbone."""
        steps = self.step % self.options.validate_every or self.options.validate_every
        row: dict[str, float] = {"step": self.step, "clips": self.clips_seen, "seconds": round(self.seconds)}
        row |= {f"train_{name}": round(float(value) / steps, 4) for name, value in self.sums.items()}
        row |= {f"held_{name}": round(value, 4) for name, value in validate(self.average, self.validation).items()}
        log.info(" ".join(f"{name}={value}" for name, value in row.items()))
        self.rows.append(row)
        self.sums = {}
        checkpoint.write(self.out / "state.pt", self._state(), self.identity)
        _write_log(self.out / "log.csv", self.rows)
        save(self.average, self.out / "backbone")

    def _state(self) -> Checkpoint:
        return Checkpoint(
            step=self.step,
            clips_seen=self.clips_seen,
            seconds=self.seconds,
            rows=self.rows,
            model=self.model.state_dict(),
            average=self.average.state_dict(),
            optimisers=[optimiser.state_dict()["state"] for optimiser in self.optimisers],
        )

    def _restore(self, state: Checkpoint) -> None:
        self.step, self.clips_seen, self.earlier, self.rows = state.step, state.clips_seen, state.seconds, state.rows
        self.model.load_state_dict(state.model)
        self.average.load_state_dict(state.average)
        for optimiser, moments in zip(self.optimisers, state.optimisers, strict=True):
            # The other options of the optimiser, such as `fused`, are those of this machine.
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def save(model: Pretraining, folder: Path) -> None:
    """Save the backbone alone, in half precision and in transformers' format. Each file is replaced as a whole."""
    stock = copy.deepcopy(model.backbone.stock).half().cpu()
    stock.config.cl_ast_pooling = "mean+std"  # what the heads for a clip were trained on
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        stock.save_pretrained(place)
        for path in Path(place).iterdir():
            path.replace(folder / path.name)


def _batch_size(rng: Generator, options: Options) -> tuple[int, int]:
    """Return the frames of each clip of the next batch, and the number of its clips: two or more per worker."""
    frames = int(rng.choice(list(LENGTHS), p=np.array(list(LENGTHS.values())) / sum(LENGTHS.values())))
    return frames, max(2 * options.workers, options.batch_frames // frames)


def _kept_patches(model: Pretraining, frames: int, dropped: float, draws: Draws) -> Tensor | None:
    """Return the indices of the patches that a step uses, or None if no patch is dropped."""
    if dropped <= 0:
        return None
    count = model.backbone.rows * model.backbone.columns(frames)
    return draws.order(count)[: max(1, round(count * (1 - dropped)))].sort().values


@contextmanager
def tf32(device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices as TF32 on a GPU. It rounds factors to 10 bits, far finer than a stored byte."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _progress(step: int, elapsed: float, options: Options) -> float:
    """Return the share of the schedule that is done (0 to 1): by steps, or by the clock if that is further."""
    clock = torch.tensor(elapsed / 60 / options.minutes if options.minutes else 0.0)
    if options.workers > 1 and options.minutes:
        distributed.broadcast(clock, 0)
    return min(1.0, max(step / options.steps, float(clock)))


def _write_log(path: Path, rows: list[dict[str, float]]) -> None:
    temporary = path.with_suffix(".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
