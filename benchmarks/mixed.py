"""16 clips with 16 different adapters, of 64 loaded, against one adapter for all; `peft` beside it.

    python -m benchmarks.mixed [--rounds 9] [--base-rounds 3]

One second a clip (100 frames), 35 classes, random weights for AST-base (its sizes are the checkpoint's). "bf16" is
autocast, as `cl_ast` runs it on a GPU. A mixture is held against the mean of its methods, each alone for all clips.
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
from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.tasks import mixed_batch as bank
from cl_ast.tasks.task_model import TaskModel, TaskSettings

CLIPS, LOADED, FRAMES = 16, 64, 100
MIXTURES = {
    "lora": ("lora",),
    "conformer": ("conformer",),
    "bottleneck": ("bottleneck",),
    "four methods": ("lora", "conformer", "bottleneck:ffn", "prefix"),
}


def base() -> Backbone:
    from transformers import ASTConfig, ASTModel

    torch.manual_seed(0)
    return Backbone(ASTModel(ASTConfig()), "ast-base, random weights", fingerprint="-")


def task(backbone: Backbone, method: str, seed: int) -> TaskModel:
    settings = TaskSettings(f"{method} {seed}", parse(method), tuple(map(str, range(35))), LogMelFrontEnd(FRAMES))
    model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(seed))
    model.adapter.pack()
    return model


def ours(backbone: Backbone, name: str, methods: Sequence[str], count: int, half: AbstractContextManager[Any]) -> Row:
    tasks = [task(backbone, methods[n % len(methods)], n) for n in range(LOADED)]
    features = torch.randn(CLIPS, FRAMES, 128, generator=torch.Generator().manual_seed(0))
    asked = list(zip(tasks, features, strict=False))
    runs: dict[str, Callable[[], object]] = {
        f"one {m}": partial(tasks[n].logits, features) for n, m in enumerate(methods)
    }
    runs["mixed"] = partial(bank.logits, asked)
    with torch.inference_mode(), half:
        taken = in_turns(runs, count)
    alone = [sum(each) / len(methods) for each in zip(*(taken[f"one {m}"] for m in methods), strict=True)]
    found, spread = ratio({**taken, "alone": alone}, "mixed", "alone")
    return Row(
        what=f"16 clips, 16 adapters: {name}", against="one adapter for all", ratio=found, value=None, unit="x",
        spread=spread, target="<= 1.10", met=found <= 1.10,
        note="blocks of four rows use a core less well than sixteen" if len(methods) > 1 else "",
    )  # fmt: skip


def peft(backbone: str, count: int, half: AbstractContextManager[Any]) -> Row:
    """LoRA on q and v in `peft`, its mixed batch and its `set_adapter`."""
    from peft import LoraConfig, get_peft_model
    from transformers import ASTConfig, ASTModel

    torch.manual_seed(0)
    place = checkpoints.MINI_FOLDER if backbone == "ast-mini" else None
    shape = ASTConfig.from_pretrained(place, max_length=FRAMES) if place else ASTConfig(max_length=FRAMES)
    model = ASTModel(shape).float().eval()  # of these sizes, with random weights: it takes one length only
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
        what=f"the same in peft, lora, {backbone}", against="one adapter for all", ratio=found, value=None, unit="x",
        spread=spread, target="", met=True, note="16 loaded",
    )  # fmt: skip


def measure(count: int = 9, base_count: int = 3) -> list[Row]:
    """Without AST-base where `base_count` is 0."""
    plain = nullcontext()
    half = torch.autocast("cpu", dtype=torch.bfloat16)
    mini = checkpoints.load("ast-mini")
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
