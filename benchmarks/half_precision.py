"""Compares bf16 with single precision on real recordings: the same task trained in both, and each answered in both.

    python -m benchmarks.half_precision --data FOLDER [--device auto] [--tasks esc10,fsdd,emodb]

Prints one line a task: test accuracy in percent of what was trained in fp32 and answered in fp32 and in bf16, of what
was trained and answered in bf16, and for how many test clips the answers of one training in both precisions agree.
"""

import argparse
from pathlib import Path

import torch

import streams
from cl_ast.adapters.spec import parse
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.device import pick_device
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import labelled
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import outputs, scores, train

EPOCHS = 10


def compare(backbone: Backbone, task: streams.Task, method: str, seed: int) -> str:
    """Return the line of one task."""
    front_end = backbone.front_end(task.clip_seconds)
    settings = TaskSettings(task.name, parse(method), task.labels, front_end, backbone.pooling)
    training, validation, test = (
        labelled(clips, task.labels, front_end, backbone.device) for clips in (task.train, task.validation, task.test)
    )
    found: dict[str, tuple[float, torch.Tensor]] = {}
    for kind in ("fp32", "bf16"):
        model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(seed))
        train(model, training, validation, Hyperparameters(epochs=EPOCHS, seed=seed, precision=kind))
        test.load("reading test clips")
        for other in ("fp32", "bf16"):
            logits, targets = outputs(CachedStates(test, SplitForward(model, other)))
            found[f"{kind} {other}"] = 100 * scores(model.settings.labelling, logits, targets)[0], logits.argmax(dim=-1)
    same = int((found["fp32 fp32"][1] == found["fp32 bf16"][1]).sum())
    accuracies = ", ".join(f"{name}: {accuracy:.1f}" for name, (accuracy, _) in found.items())
    return f"{task.name} (seed {seed}), trained in, answered in: {accuracies}; the same answer {same} of {len(test)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tasks", default="esc10,fsdd,emodb")
    parser.add_argument("--method", default="conformer")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    mini = pretrained.load(pretrained.MINI, device=pick_device(given.device))
    for name in given.tasks.split(","):
        for number in range(given.seeds):
            loaded = streams.load(str(given.data / name), seed=number)
            print(compare(mini, loaded, given.method, number), flush=True)
