"""Times answers on a GPU: mixed batches of many tasks, and `predict` end to end against transformers' pipeline."""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, ASTModel, pipeline

from benchmarks.gpu_steps import CLASSES, Features, Plan, task
from benchmarks.rows import Row
from cl_ast.backbone import pretrained
from cl_ast.manager import Manager
from cl_ast.tasks import mixed_batch
from cl_ast.tasks.task_file import to_bytes
from registry import BackboneRecord, NewVersion, Registry

TASKS = 64
MIXTURES = {
    "lora": ("lora",),
    "conformer": ("conformer",),
    "four methods": ("lora", "conformer", "bottleneck:ffn", "prefix"),
}
_PIPELINE_CLIPS = 500  # the pipeline is too slow for as many as ours


def mixed(plan: Plan) -> list[Row]:
    """Return rows for 64 clips of 64 tasks in one batch, compared with one task for all clips; also in peft."""
    backbone, frames = plan.fresh(), plan.lengths[0]
    features, _ = Features(TASKS, frames, plan.device).batch(range(TASKS))
    rows = []
    for name, methods in MIXTURES.items():
        tasks = [task(plan, backbone, methods[n % len(methods)], frames, n) for n in range(TASKS)]
        for one in tasks:
            one.adapter.pack()
        with torch.inference_mode():
            pairs = list(zip(tasks, features, strict=True))
            alone = []
            for n in range(len(methods)):
                same = [(tasks[n], clip) for clip in features]
                alone.append(statistics.median(plan.times(partial(mixed_batch.logits, same, "bf16"))))
            times = plan.times(partial(mixed_batch.logits, pairs, "bf16"))
        middle, one_task = statistics.median(times), statistics.mean(alone)
        most = 1.5 if len(methods) > 1 else 1.25
        rows.append(
            Row(f"{TASKS} clips of {TASKS} tasks: {name}", "one task for all clips", middle / one_task, 1e3 * middle,
                "ms", f"{1e3 * min(times):.1f} to {1e3 * max(times):.1f} ms", f"≤ {most}",
                middle / one_task <= most, "")
        )  # fmt: skip
    return [*rows, _peft(plan, frames)]


def _peft(plan: Plan, frames: int, count: int = 16) -> Row:
    import peft

    sizes = ASTConfig.from_dict({**plan.backbone.to_dict(), "max_length": frames})
    wanted = peft.LoraConfig(r=6, lora_alpha=48, target_modules=["q_proj", "v_proj"])
    model = peft.get_peft_model(ASTModel(sizes), wanted, adapter_name="a0")
    for n in range(1, count):
        model.add_adapter(f"a{n}", wanted)
    model = model.to(plan.device).eval()
    features, _ = Features(count, frames, plan.device).batch(range(count))
    names = [f"a{n}" for n in range(count)]
    with torch.inference_mode(), torch.autocast(plan.device.type, dtype=torch.bfloat16):
        one = statistics.median(plan.times(lambda: model(features)))
        several = statistics.median(plan.times(lambda: model(features, adapter_names=names)))
    return Row(f"{count} clips of {count} tasks: peft, lora", "one task for all clips", several / one, 1e3 * several,
               "ms", "", "", True, "")  # fmt: skip


def predicting(plan: Plan, place: Path) -> list[Row]:
    """Return rows for `predict` of many files of one second, against transformers' pipeline on the same GPU."""
    backbone_folder, clips = place / "backbone", place / "clips"
    ASTModel(plan.backbone).save_pretrained(backbone_folder)
    paths = noises(clips, plan.clips)
    registry = _registry(plan, place / "registry", str(backbone_folder))
    name = plan.device.type
    with Manager.open(registry, device=name) as manager:
        for _ in manager.predict(paths[:64], task="commands"):
            pass
        started = time.perf_counter()
        answered = sum(1 for _ in manager.predict(paths, task="commands"))
        ours = answered / (time.perf_counter() - started)
    theirs = _pipeline_rate(plan, paths[:_PIPELINE_CLIPS])
    return [
        Row(f"predict, {answered:,} files of 1 s, by name", "transformers' pipeline, bf16, batches of 32",
            ours / theirs, ours, "clips/s", "one run", "≥ 10", ours / theirs >= 10,
            f"the pipeline: {theirs:.0f} clips/s, each padded to 10.24 s, the length that its model takes")
    ]  # fmt: skip


def noises(folder: Path, count: int) -> list[Path]:
    """Write clips of a second of noise, by all cores; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.wav" for number in range(count)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write, paths, range(count), chunksize=max(1, count // 64)))
    return paths


def _write(path: Path, seed: int) -> None:
    samples = 0.1 * np.random.default_rng(seed).normal(size=16_000)
    soundfile.write(path, samples.astype(np.float32), 16_000)


def _registry(plan: Plan, place: Path, folder: str) -> Path:
    """Make a registry with one untrained task of one second."""
    backbone = pretrained.load(folder)
    model = task(plan, backbone, "conformer", 100)
    labels = model.settings.labels
    new = NewVersion(
        method=model.settings.method.text, labels=labels, trainable_parameters=1, seed=0, seconds=1.0, source={}
    )
    with Registry.open(place) as registry:
        registry.set_backbone(BackboneRecord(folder, backbone.fingerprint, backbone.parameters, backbone.bytes, b""))
        registry.commit("commands", to_bytes(model, backbone, {}, {}), new)
    return place


def _pipeline_rate(plan: Plan, paths: Sequence[Path]) -> float:
    """Return the clips a second of transformers' pipeline, in bf16 and batches of 32."""
    sizes = ASTConfig.from_dict({**plan.backbone.to_dict(), "num_labels": CLASSES})
    model = ASTForAudioClassification(sizes).to(torch.bfloat16).eval()
    clips = [soundfile.read(path, dtype="float32")[0] for path in paths]
    run = pipeline("audio-classification", model=model, feature_extractor=ASTFeatureExtractor(), device=plan.device)
    list(run(clips[:32], batch_size=32))
    started = time.perf_counter()
    list(run(clips, batch_size=32))
    return len(clips) / (time.perf_counter() - started)
