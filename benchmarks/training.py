"""Compares a training step of each method with full fine-tuning and peft's LoRA on the same backbone and batch.

The backbone is AST-base with random weights and the clips are made here, so nothing is downloaded. One thread is used.
`python -m benchmarks.training METHOD` prints what a step of that method adds to the memory of a process, in MB.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.nn import functional as F
from transformers import ASTConfig, ASTModel

from benchmarks.memory import memory_of, peak_memory
from benchmarks.rows import Row
from benchmarks.timing import in_turns, median_ms, processor_flags, ratio
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.device import bf16_is_faster
from cl_ast.backbone.families.ast import positions_for
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import ClipSet
from cl_ast.training.step import Steps
from cl_ast.training.trainer import trainable

BATCH = 8
ROUNDS = 4
CLASSES = 35
FRAMES = 100
METHODS = ("lora", "bottleneck", "conformer")
TOP = "lora:from=8"
_FULL = "full fine-tuning"


def measure() -> list[Row]:
    """Return rows for steps in turns, for a probe's epochs, and for the memory of separate processes."""
    torch.set_num_threads(1)
    backbone = Backbone(ASTModel(ASTConfig()), "AST-base with random weights", fingerprint="random")
    with tempfile.TemporaryDirectory() as place:
        paths = _clips(Path(place), 2 * BATCH)
        rows = _steps(backbone, paths)
        rows.append(_probe(backbone, paths))
        rows.append(_half(paths))
    return rows + _memory()


def _steps(backbone: Backbone, paths: list[Path]) -> list[Row]:
    steps: dict[str, Callable[[], object]] = {"full": _step(_split(backbone, paths, "full"))}
    steps["peft"] = _peft_step(backbone, paths)
    steps |= {method: _step(_split(backbone, paths, method)) for method in (*METHODS, TOP)}
    cached = _split(backbone, paths, TOP)
    cached.load("")
    steps["cached"] = _step(cached)
    times = in_turns(steps, ROUNDS)
    note = f"batch {BATCH}, {FRAMES} frames, fp32, one thread"
    cached_note = "cached in fp16 from the first epoch on; the arithmetic alone is 0.215"

    def row(name: str, what: str, target: float | None, more: str = "") -> Row:
        found, spread = ratio(times, name, "full")
        wanted = "" if target is None else f"≤ {target:.2f}"
        met = target is None or found <= target
        return Row(what, _FULL, found, median_ms(times, name), "ms a step", spread, wanted, met, more or note)

    return [
        row("full", _FULL, None),
        row("peft", "training step, peft's LoRA r=6 at q and v (for comparison)", None),
        *(row(method, f"training step, {method}", 0.68) for method in METHODS),
        row(TOP, f"training step, {TOP}, lower layers computed", 0.45),
        row("cached", f"training step, {TOP}, lower layers' outputs cached", 0.20, cached_note),
    ]


def _probe(backbone: Backbone, paths: list[Path]) -> Row:
    """Return how much faster a clip is in later epochs of a linear probe than through the backbone."""
    split = _split(backbone, paths, "linear")
    started = time.process_time()
    split.load("")
    backbone_once = (time.process_time() - started) / len(split)
    step = _step(split)
    times = in_turns({"epoch": lambda: [step() for _ in range(50)]}, ROUNDS)["epoch"]
    epoch = min(times) / (50 * BATCH)
    found = backbone_once / epoch
    spread = f"{backbone_once / (max(times) / (50 * BATCH)):.0f} to {found:.0f} in {len(times)} rounds"
    what = "linear probe, a clip from the second epoch on (how many times faster)"
    return Row(
        what, "running the backbone every epoch", found, 1e6 * epoch, "µs a clip", spread, "≥ 1000", found >= 1000, ""
    )


def _half(paths: list[Path]) -> Row:
    """Compare a step in bf16 with one in fp32, and say which of them `--precision fast` chooses here."""
    mini = pretrained.load(pretrained.MINI)
    kinds = {kind: _step(_split(mini, paths, "conformer", kind)) for kind in ("fp32", "bf16")}
    times = in_turns(kinds, 5 * ROUNDS)
    found, spread = ratio(times, "bf16", "fp32")
    taken = bf16_is_faster()
    wanted = "≤ 0.50 on AMX, not chosen above 1"
    met = found <= (0.5 if "amx_bf16" in processor_flags() else 1.0) if taken else found > 0.85
    note = f"--precision fast chooses {'bf16' if taken else 'fp32'} here"
    return Row("training step, conformer over ast-mini, bf16", "fp32", found, median_ms(times, "bf16"), "ms a step",
               spread, wanted, met, note)  # fmt: skip


def _memory() -> list[Row]:
    """Return what a step adds to the memory of a process that has the backbone, at its peak."""
    added = {method: _added(method) for method in ("full", *METHODS)}
    rows = []
    for method in METHODS:
        found = added[method] / added["full"]
        note = "the peak of a process minus its memory before the step; gradients and optimiser included"
        what = f"memory that a step adds, {method}"
        rows.append(Row(what, _FULL, found, added[method], "MB", "one process each", "≤ 0.50", found <= 0.5, note))
    return rows


def _added(method: str) -> float:
    command = [sys.executable, "-m", "benchmarks.training", method]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _clips(folder: Path, count: int) -> list[Path]:
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.wav" for number in range(count)]
    for path in paths:
        soundfile.write(path, 0.1 * random.normal(size=16_000).astype(np.float32), 16_000)
    return paths


def _split(backbone: Backbone, paths: list[Path], method: str, kind: str = "auto") -> CachedStates:
    labels = tuple(map(str, range(CLASSES)))
    front_end = LogMelFrontEnd(FRAMES)
    settings = TaskSettings("bench", parse(method), labels, front_end)
    model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(0))
    clips = ClipSet(paths, [number % CLASSES for number in range(len(paths))], front_end)
    clips.load("")
    return CachedStates(clips, SplitForward(model, kind))


def _step(split: CachedStates) -> Callable[[], object]:
    """Return a function that makes one step of the trainer with the first clips."""
    model = split.forward.model
    steps = Steps(split, torch.optim.AdamW(model.trainable(), lr=1e-4))

    def run() -> None:
        with trainable(model.trainable()), model.adapter.training_mode():
            steps.take(range(BATCH))

    return run


def _peft_step(backbone: Backbone, paths: list[Path]) -> Callable[[], object]:
    import peft

    stock = ASTModel(ASTConfig())
    columns = (FRAMES - 16) // 10 + 1
    stock.embeddings.position_embeddings = torch.nn.Parameter(positions_for(backbone.model, columns).detach().clone())
    config = peft.LoraConfig(r=6, lora_alpha=48, target_modules=["q_proj", "v_proj"])
    model, head = peft.get_peft_model(stock, config), torch.nn.Linear(768, CLASSES)
    trained = [*(tensor for tensor in model.parameters() if tensor.requires_grad), *head.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=1e-4)
    clips = _split(backbone, paths, "linear").clips

    def run() -> None:
        features, targets = clips.batch(range(BATCH))
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(head(model(features)[0].mean(dim=1)), targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return run


def main(method: str) -> None:
    """Print what a step of a method adds to the memory of this process, in MB."""
    torch.set_num_threads(1)
    backbone = Backbone(ASTModel(ASTConfig()), "random", fingerprint="random")
    with tempfile.TemporaryDirectory() as place:
        step = _step(_split(backbone, _clips(Path(place), BATCH), method))
        Path("/proc/self/clear_refs").write_text("5")  # set the peak back
        before = memory_of("VmRSS")
        step()
        step()  # the optimiser's moments exist from the second step on
    print(peak_memory() - before)


if __name__ == "__main__":
    main(sys.argv[1])
