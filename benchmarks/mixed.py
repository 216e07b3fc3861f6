"""Compares 16 clips with 16 different adapters (of 64 in memory) with one adapter for all clips; also in `peft`.

    python -m benchmarks.mixed [--rounds 9] [--base-rounds 3]

Clips are one second (100 frames), tasks have 35 classes, and AST-base has random weights in the sizes of the
checkpoint. "bf16" is autocast, as `cl_ast` uses it on a GPU. A mixture of methods is compared with the mean of its
methods, each used alone for all clips.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

from benchmarks.rows import Row
from benchmarks.timing import in_turns, ratio
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.tasks import mixed_batch
from cl_ast.tasks.task_model import TaskModel, TaskSettings

CLIPS, TASKS, FRAMES = 16, 64, 100
MIXTURES = {
    "lora": ("lora",),
    "conformer": ("conformer",),
    "bottleneck": ("bottleneck",),
    "four methods": ("lora", "conformer", "bottleneck:ffn", "prefix"),
}


def base() -> Backbone:
    """Return a backbone of AST-base's sizes with random weights."""
    from transformers import ASTConfig, ASTModel

    torch.manual_seed(0)
    return Backbone(ASTModel(ASTConfig()), "ast-base, random weights", fingerprint="-")


def task(backbone: Backbone, method: str, seed: int) -> TaskModel:
    """Return a task that is ready to answer, with random weights."""
    settings = TaskSettings(f"{method} {seed}", parse(method), tuple(map(str, range(35))), LogMelFrontEnd(FRAMES))
    model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(seed))
    model.adapter.pack()
    return model


def ours(backbone: Backbone, name: str, methods: Sequence[str], count: int, half: AbstractContextManager[Any]) -> Row:
    """Return a mixed batch of these methods, compared with each method alone."""
    tasks = [task(backbone, methods[n % len(methods)], n) for n in range(TASKS)]
    features = torch.randn(CLIPS, FRAMES, 128, generator=torch.Generator().manual_seed(0))
    rows = list(zip(tasks, features, strict=False))
    runs: dict[str, Callable[[], object]] = {
        f"one {m}": partial(tasks[n].logits, features) for n, m in enumerate(methods)
    }
    runs["mixed"] = partial(mixed_batch.logits, rows)
    with torch.inference_mode(), half:
        taken = in_turns(runs, count)
    alone = [sum(each) / len(methods) for each in zip(*(taken[f"one {m}"] for m in methods), strict=True)]
    found, spread = ratio({**taken, "alone": alone}, "mixed", "alone")
    return Row(
        what=f"16 clips, 16 adapters: {name}", against="one adapter for all clips", ratio=found, value=None, unit="x",
        spread=spread, target="≤ 1.10", met=found <= 1.10,
        note="four clips at a time use a core less well than sixteen" if len(methods) > 1 else "",
    )  # fmt: skip


def peft(backbone: str, count: int, half: AbstractContextManager[Any]) -> Row:
    """Return a mixed batch of LoRAs on q and v in `peft`, compared with one LoRA for all clips."""
    from peft import LoraConfig, get_peft_model
    from transformers import ASTConfig, ASTModel

    torch.manual_seed(0)
    place = pretrained.MINI_FOLDER if backbone == "ast-mini" else None
    shape = ASTConfig.from_pretrained(place, max_length=FRAMES) if place else ASTConfig(max_length=FRAMES)
    model = ASTModel(shape).float().eval()  # random weights: the stock model takes one length only
    config = LoraConfig(r=6, lora_alpha=48, target_modules=["q_proj", "v_proj"])
    mixed = get_peft_model(model, config, adapter_name="a0")
    for n in range(1, CLIPS):
        mixed.add_adapter(f"a{n}", config)
    mixed.eval()
    features = torch.randn(CLIPS, FRAMES, 128)
    names = [f"a{n}" for n in range(CLIPS)]
    with torch.inference_mode(), half:
        taken = in_turns(
            {
                "one": lambda: mixed(features),  # a0 is active
                "mixed": lambda: mixed(features, adapter_names=names),
            },
            count,
        )
    found, spread = ratio(taken, "mixed", "one")
    return Row(
        what=f"the same in peft, lora, {backbone}", against="one adapter for all clips", ratio=found, value=None,
        unit="x", spread=spread, target="", met=True, note="16 adapters in memory",
    )  # fmt: skip


def measure(count: int = 9, base_count: int = 3) -> list[Row]:
    """Return all rows; those over AST-base are left out where `base_count` is 0."""
    plain = nullcontext()
    half = torch.autocast("cpu", dtype=torch.bfloat16)
    mini = pretrained.load("ast-mini")
    rows = [ours(mini, f"{name}, ast-mini", methods, count, plain) for name, methods in MIXTURES.items()]
    rows.append(peft("ast-mini", count, plain))
    if base_count:
        large = base()
        for name in ("lora", "four methods"):
            rows.append(ours(large, f"{name}, ast-base fp32", MIXTURES[name], base_count, plain))
            rows.append(ours(large, f"{name}, ast-base bf16", MIXTURES[name], base_count, half))
        del large
        rows += [peft("ast-base fp32", base_count, plain), peft("ast-base bf16", base_count, half)]
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--base-rounds", type=int, default=3)
    options = parser.parse_args()
    for row in measure(options.rounds, options.base_rounds):
        print(row, flush=True)
