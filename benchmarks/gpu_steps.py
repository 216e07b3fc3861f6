"""Times training steps and forward passes on a GPU: ours one by one, recorded and compiled, and peft's.

Clips are random features; nothing is read. A step is a batch of 32 clips of one or of five seconds in bf16.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from transformers import ASTConfig, ASTModel

from benchmarks.rows import Row
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import ClipSet
from cl_ast.training.compilation import compiled
from cl_ast.training.step import Steps
from cl_ast.training.trainer import trainable

Run = Callable[[], object]
CLASSES = 35


@dataclass(frozen=True)
class Plan:
    """Sizes of what is measured; the defaults are those of the results, and a test takes tiny ones.

    Attributes:
        device: where it runs.
        backbone: the sizes of a backbone with random weights; AST-base's by default.
        rounds: how many times each candidate is timed.
        methods: measured one by one and recorded; those in `compiled` are compiled too.
        lengths: of clips, in frames of 10 ms, for which steps are measured.
        batch: clips in a step.
        large: clips in a batch, and their frames, for the share of the chip's peak.
        clips: files for `predict`.
    """

    device: torch.device
    backbone: ASTConfig = field(default_factory=ASTConfig)
    rounds: int = 20
    methods: Sequence[str] = ("full", "lora", "bottleneck", "conformer", "bitfit", "prefix")
    compiled: Sequence[str] = ("full", "lora", "conformer")
    lengths: Sequence[int] = (100, 500)
    batch: int = 32
    large: tuple[int, int] = (128, 500)
    clips: int = 10_000

    def fresh(self) -> Backbone:
        """Return a backbone of these sizes with random weights, on the device."""
        torch.manual_seed(0)
        return Backbone(ASTModel(self.backbone), "random", fingerprint="random").to(self.device)

    def wait(self) -> None:
        """Wait until the device has done all of its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def times(self, run: Run, rounds: int | None = None, warm: int = 6) -> list[float]:
        """Return the seconds of each round of `run`, after some that do not count."""
        for _ in range(warm):
            run()
        taken = []
        for _ in range(rounds or self.rounds):
            self.wait()
            started = time.perf_counter()
            run()
            self.wait()
            taken.append(time.perf_counter() - started)
        return taken


def task(plan: Plan, backbone: Backbone, method: str, frames: int, seed: int = 0) -> TaskModel:
    """Return an untrained task."""
    settings = TaskSettings(f"{method} {seed}", parse(method), tuple(map(str, range(CLASSES))), LogMelFrontEnd(frames))
    return TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(seed))


class Features(ClipSet):
    """Clips whose features are random numbers on the device, so that only steps are timed."""

    def __init__(self, count: int, frames: int, device: torch.device) -> None:
        targets = [number % CLASSES for number in range(count)]
        super().__init__([Path("none")] * count, targets, LogMelFrontEnd(frames), device=device)
        self._random = torch.randn(count, frames, 128, generator=torch.Generator().manual_seed(0)).to(device)
        self._labels = torch.tensor(targets, device=device)

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self._random[: len(indices)], self._labels[: len(indices)]


def stepper(model: TaskModel, plan: Plan, count: int, frames: int, *, record: bool, compile: bool = False) -> Run:
    """Return a function that takes one training step with the same batch."""
    states = CachedStates(Features(count, frames, plan.device), SplitForward(model, "bf16", compile=compile))
    on_gpu = plan.device.type == "cuda"
    optimiser = torch.optim.AdamW(model.trainable(), lr=1e-4, fused=on_gpu, capturable=on_gpu)
    steps = Steps(states, optimiser, record=record and on_gpu)

    def run() -> None:
        with trainable(model.trainable()), model.adapter.training_mode():
            steps.take(range(count))

    return run


def peft_stepper(plan: Plan, count: int, frames: int) -> Run:
    """Return a function that takes one step of peft's LoRA at q and v: eager, autocast to bf16, fused AdamW."""
    import peft

    sizes = ASTConfig.from_dict({**plan.backbone.to_dict(), "max_length": frames})
    wanted = peft.LoraConfig(r=6, lora_alpha=48, target_modules=["q_proj", "v_proj"])
    model = peft.get_peft_model(ASTModel(sizes), wanted).to(plan.device)
    head = torch.nn.Linear(sizes.hidden_size, CLASSES).to(plan.device)
    trained = [*(one for one in model.parameters() if one.requires_grad), *head.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=1e-4, fused=plan.device.type == "cuda")
    features, targets = Features(count, frames, plan.device).batch(range(count))

    def run() -> None:
        with torch.autocast(plan.device.type, dtype=torch.bfloat16):
            loss = F.cross_entropy(head(model(features)[0].mean(dim=1)).float(), targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return run


def steps(plan: Plan, frames: int) -> list[Row]:
    """Return rows for a step of each method: one by one, recorded, compiled; against full fine-tuning and peft."""
    backbone = plan.fresh()
    taken: dict[str, list[float]] = {}
    launched: dict[str, tuple[float, float]] = {}
    for method in plan.methods:
        run = stepper(task(plan, backbone, method, frames), plan, plan.batch, frames, record=False)
        taken[method] = plan.times(run)
        launched[method] = launches(run, plan)
        run = stepper(task(plan, backbone, method, frames), plan, plan.batch, frames, record=True)
        taken[f"{method}, recorded"] = plan.times(run)
        launched[f"{method}, recorded"] = launches(run, plan)
        if method in plan.compiled:
            run = stepper(task(plan, backbone, method, frames), plan, plan.batch, frames, record=True, compile=True)
            taken[f"{method}, compiled"] = plan.times(run)
            launched[f"{method}, compiled"] = launches(run, plan)
    taken["peft"] = plan.times(peft_stepper(plan, plan.batch, frames))
    return _rows(plan, frames, taken, launched)


def _rows(
    plan: Plan, frames: int, taken: dict[str, list[float]], launched: dict[str, tuple[float, float]]
) -> list[Row]:
    seconds = frames / 100
    middle = {name: statistics.median(times) for name, times in taken.items()}
    rows = []
    for name, times in taken.items():
        kernels, busy = launched.get(name, (0.0, 0.0))
        share = busy / middle[name] if busy else 0.0
        note = f"{kernels:.0f} kernels, GPU busy {100 * share:.0f} %" if kernels else ""
        against = "full, compiled" if "compiled" in name else "full, recorded" if "recorded" in name else "full"
        spread = f"{1e3 * min(times):.1f} to {1e3 * max(times):.1f} ms in {len(times)} rounds"
        found = middle[name] / middle[against]
        wanted = name.endswith("compiled") and not name.startswith("full")
        rows.append(
            Row(
                f"a step of {plan.batch} clips of {seconds:g} s: {name}", against, found, 1e3 * middle[name], "ms",
                spread, "≤ 0.75" if wanted else "", found <= 0.75 or not wanted, note,
            )
        )  # fmt: skip
    best = min((name for name in middle if name.startswith("lora")), key=lambda name: middle[name])
    found = middle[best] / middle["peft"]
    rows.append(
        Row(f"a step of {plan.batch} clips of {seconds:g} s: {best}", "peft's LoRA, eager", found, 1e3 * middle[best],
            "ms", "", "≤ 0.45", found <= 0.45, "")
    )  # fmt: skip
    least = 0.8 if frames >= 500 else 0.6
    fastest = min((name for name in launched if name.startswith("conformer")), key=lambda name: middle[name])
    share = launched[fastest][1] / middle[fastest]
    rows.append(
        Row(f"share of the time that the GPU is busy, {plan.batch} clips of {seconds:g} s: {fastest}", "", None,
            100 * share, "%", "", f"≥ {100 * least:.0f} %", share >= least, "kernels' time over the step's")
    )  # fmt: skip
    return rows


def launches(run: Run, plan: Plan, steps: int = 3) -> tuple[float, float]:
    """Return how many kernels a step runs on the GPU, and for how many seconds; zeros on a CPU."""
    if plan.device.type != "cuda":
        return 0.0, 0.0
    for _ in range(6):
        run()
    plan.wait()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            run()
        plan.wait()
    events = [event for event in found.events() or [] if event.device_type == torch._C._autograd.DeviceType.CUDA]
    return len(events) / steps, sum(float(event.self_device_time_total) for event in events) / steps / 1e6


def operations(plan: Plan, frames: int) -> float:
    """Return the floating-point operations of a clip's forward pass."""
    sizes = plan.backbone
    columns = (frames - sizes.patch_size) // sizes.time_stride + 1
    rows = (128 - sizes.patch_size) // sizes.frequency_stride + 1
    tokens, width = rows * columns + 2, sizes.hidden_size
    matrices = 4 * width * width + 2 * width * sizes.intermediate_size
    return float(sizes.num_hidden_layers * (2.0 * tokens * matrices + 4.0 * tokens * tokens * width))


def peak(plan: Plan) -> float:
    """Return the floating-point operations a second of a large matrix product in bf16."""
    size = 8192 if plan.device.type == "cuda" else 256
    a = torch.randn(size, size, device=plan.device, dtype=torch.bfloat16)
    seconds: float = statistics.median(plan.times(lambda: a @ a, rounds=10))
    return 2 * size**3 / seconds


def shares_of_the_peak(plan: Plan) -> list[Row]:
    """Return rows for training and answering large batches: clips a second, and the share of the chip's peak."""
    backbone, highest = plan.fresh(), peak(plan)
    rows = [
        Row("matrix product 8192 × 8192, bf16", "", None, highest / 1e12, "TFLOP/s", "", "", True, "the measured peak")
    ]
    sizes = [(count, frames) for frames in plan.lengths for count in (plan.large[0], 2 * plan.large[0])]
    for count, frames in sizes:
        large = (count, frames) == plan.large
        for compile in (False, True) if large and plan.compiled else (False,):
            name = "compiled" if compile else "recorded"
            run = stepper(task(plan, backbone, "conformer", frames), plan, count, frames, record=True, compile=compile)
            times = plan.times(run, rounds=8)
            rows.append(_share(plan, f"training, conformer, {name}", count, frames, times, 2, highest, 40))
            forward = _forward(plan, task(plan, backbone, "conformer", frames), count, frames, compile=compile)
            name = "compiled" if compile else "eager"
            times = plan.times(forward, rounds=8)
            rows.append(_share(plan, f"forward, conformer, {name}", count, frames, times, 1, highest, 45))
    return rows


def _forward(plan: Plan, model: TaskModel, count: int, frames: int, *, compile: bool) -> Run:
    features, _ = Features(count, frames, plan.device).batch(range(count))
    model.adapter.pack()
    backbone = model.backbone

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        return model.classify(backbone.run(tokens))

    fast = compiled(logits) if compile else logits

    def run() -> None:
        with torch.no_grad(), backbone.precision("bf16"), model.acting():
            fast(model.embed(features))

    return run


def _share(
    plan: Plan, what: str, count: int, frames: int, times: list[float], passes: int, highest: float, least: float
) -> Row:
    middle = statistics.median(times)
    found = 100 * passes * operations(plan, frames) * count / middle / highest
    target = f"≥ {least:.0f} %" if (count, frames) == plan.large and "compiled" in what else ""
    spread = f"{count / max(times):,.0f} to {count / min(times):,.0f} clips/s in {len(times)} rounds"
    note = f"{count / middle:,.0f} clips/s"
    return Row(f"share of the peak: {what}, {count} clips of {frames / 100:g} s", "the measured peak", None, found, "%",
               spread, target, not target or found >= least, note)  # fmt: skip
