"""Measures methods that read a shared part on real recordings, over `ast-mini`; docs/methods.md has the table.

    python -m benchmarks.shared_parts --data FOLDER --methods "poly mhr hyper halfshared:r=4 lora conformer"

A shared part is trained for 4 epochs on two tasks, with at most 40 training clips per class; then other tasks are
learned with it. Their splits, epochs and pooling are those of `benchmarks.ast_mini_methods`. Each training is a line.
"""

import csv
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click
import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

import streams
from benchmarks.ast_mini_methods import DATA, load
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.continual.share import trained_on
from cl_ast.inference.session import Session
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.clips import labelled
from cl_ast.training.options import Hyperparameters, TrainOptions
from cl_ast.training.quantising import rounded
from cl_ast.training.trainer import accuracy_of, train
from registry import Registry

POOLING = "mean+std"
COLUMNS = ("method", "task", "parameters", "adapter_bytes", "head_bytes", "shared_bytes", "validation", "test")


def few(clips: tuple[streams.Clip, ...], most: int) -> tuple[streams.Clip, ...]:
    """Return the first `most` clips of each class."""
    seen: Counter[str] = Counter()
    found = []
    for clip in clips:
        seen[clip.label] += 1
        found += [clip] if seen[clip.label] <= most else []
    return tuple(found)


def shared_part(session: Session, spec: MethodSpec, tasks: list[streams.Task]) -> bytes:
    """Train a shared part on a part of the clips of these tasks, and return its file."""
    parts = [replace(task, train=few(task.train, 40), validation=few(task.validation, 15)) for task in tasks]
    return trained_on(session, parts, spec, TrainOptions(epochs=4))[1]


def learn(session: Session, task: streams.Task, spec: MethodSpec, shared: Mapping[str, Tensor]) -> list[object]:
    """Learn a task, and return its row without the bytes of the shared part."""
    backbone, front_end = session.backbone, session.backbone.front_end(task.clip_seconds)
    settings = TaskSettings(task.name, spec, task.labels, front_end, POOLING)
    model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(0), shared)
    training, validation, test = (
        labelled(clips, task.labels, front_end, backbone.device, session.clips.read, "loudest")
        for clips in (task.train, task.validation, task.test)
    )
    options = Hyperparameters(DATA[task.name].epochs // 2, learning_rate=spec.learning_rate)
    trained, _ = rounded(model, train(model, training, validation, options), validation, "auto")
    test.load("reading test clips")
    sizes: Counter[str] = Counter()
    for name, tensor in model.state().items():
        part = "head" if name.startswith("head.") else "adapter"
        sizes[part] += tensor.numel() * (2 if model.stored.get(name) == "fp16" else 4)
    accuracy = accuracy_of(model, test)[0]
    row = [spec.text, task.name, model.trainable_parameters(), sizes["adapter"], sizes["head"]]
    return [*row, round(trained.accuracy, 4), round(accuracy, 4)]


@click.command()
@click.option("--data", "folder", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--methods", default="poly mhr hyper halfshared:r=4", show_default=True)
@click.option("--share", "shared_by", default="asc esc10", show_default=True)
@click.option("--tasks", default="emodb fsdd", show_default=True)
def main(folder: Path, methods: str, shared_by: str, tasks: str) -> None:
    """Train and measure, and print a line for each training."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    with tempfile.TemporaryDirectory() as place, Registry.open(place) as registry:
        session = Session(registry, backbone="ast-mini", device="cpu")
        for method in methods.split():
            spec, data = parse(method), b""
            if spec.acts_as:
                data = shared_part(session, spec, [load(folder, name, 0) for name in shared_by.split()])
            shared = {name: tensor.float() for name, tensor in load_tensors(data).items()} if data else {}
            for name in tasks.split():
                *first, validation, test = learn(session, load(folder, name, 0), spec, shared)
                writer.writerow([*first, len(data), validation, test])
                sys.stdout.flush()


if __name__ == "__main__":
    main()
