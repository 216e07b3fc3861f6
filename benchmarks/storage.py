"""Measures the size of a task's file over AST-base with 50 classes, routing state and header included."""

from collections.abc import Mapping

import torch
from transformers import ASTConfig, ASTModel

from benchmarks.rows import Row
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.router import DIMENSIONS, learn
from cl_ast.tasks.number_formats import Kind
from cl_ast.tasks.task_file import to_bytes
from cl_ast.tasks.task_model import TaskModel, TaskSettings

METHODS = ("linear", "lora", "prefix", "bottleneck", "conformer:k=8", "conformer", "conformer:houlsby", "onebit")
KINDS: tuple[Kind, ...] = ("fp32", "fp16", "int8")
_TARGET = 650_000  # bytes
_CLIPS = 400


def measure() -> list[Row]:
    """Return a row for each method and each number format; the target is for half precision."""
    backbone = Backbone(ASTModel(ASTConfig()), "ast-base", fingerprint="f" * 64)
    routing = _routing()
    return [_size(backbone, method, kind, routing) for method in METHODS for kind in KINDS]


def _routing() -> dict[str, torch.Tensor]:
    """Return what the default router keeps for a task; its size does not depend on the clips."""
    generator = torch.Generator().manual_seed(0)
    described = torch.nn.functional.normalize(torch.randn(_CLIPS, DIMENSIONS, generator=generator), dim=1)
    targets = [clip % 50 for clip in range(_CLIPS // 2)]
    return learn(described[: _CLIPS // 2], targets, described[_CLIPS // 2 :], generator=generator).tensors()


def _size(backbone: Backbone, method: str, kind: Kind, routing: Mapping[str, torch.Tensor]) -> Row:
    labels = tuple(f"label {number}" for number in range(50))
    settings = TaskSettings("bench", parse(method), labels, LogMelFrontEnd(500))
    model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(0))
    model.round(kind)
    size = len(to_bytes(model, backbone, {}, routing))
    target = "≤ 0.65 MB" if kind == "fp16" else ""
    met = not target or size <= _TARGET
    note = "" if met else f"{model.trainable_parameters():,} numbers at two bytes; smaller with --store int8"
    full = size / backbone.bytes
    return Row(
        f"task file, {method}, {kind}",
        "a full copy of the backbone",
        full,
        size / 1e6,
        "MB",
        "exact",
        target,
        met,
        note,
    )
