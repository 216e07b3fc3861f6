"""Generates docs/methods.md from the table of methods: `python -m cl_ast.adapters.methods_page docs/methods.md`."""

import sys
from pathlib import Path

from cl_ast.adapters.forms import Foldable, Simplifiable
from cl_ast.adapters.listing import SHOWN
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS, PRESETS
from cl_ast.adapters.options import Number
from cl_ast.adapters.spec import MethodSpec, cost, parse
from cl_ast.backbone.sites import AST_BASE

_HEAD = """# Methods

This page is generated from the table in `cl_ast/adapters/` by
`python -m cl_ast.adapters.methods_page docs/methods.md`; a test checks that it is current. Parameters are counted for
AST-base as the papers count them: without the head, except that a linear probe is its head (here for 50 classes) and
that BitFit counts the final LayerNorm's bias.

In the equations, x is the input of a block and h its output. "Plain" means that an untrained adapter leaves the
backbone's output as it is; "merges" means that `cl_ast.tasks.merging.merged` can fold the method into a copy of the
backbone.

Methods are combined with `+`: `bottleneck:ffn+lora:qv,r=3`. Options follow a colon, in any order; those left out have
the default shown below. Adapters at a block also train that block's LayerNorm, as the papers do.

Every adapter also takes `from=N`: it then acts only in layers N and above, counted from 0 (`--from-layer N` sets this
for every part of the method). Prompts are then inserted before layer N. Training runs the layers below N once for each
clip and caches their output. The adapter is stored only for the layers in which it acts.
"""
_OWN = """
## A method of your own

A form is a frozen dataclass with `label`, `fresh`, `weights` and `delta`; a row of the table is a `Method`. Add the
row to a mapping of your own and pass that mapping on; nothing in the package changes:

    TABLE = {**METHODS, "mine": Method("mine", "what it does", "its equation", "its source", options, place)}
    spec = parse("mine:r=4+lora", TABLE)
    Manager.open("my-registry", methods=TABLE).add_task(task, method=spec)

`tests/cl_ast/adapters/test_methods.py` has an example that is trained, stored and loaded.
"""


def page() -> str:
    """Return the whole page as Markdown."""
    parts = [_HEAD, "## The rows\n"]
    parts += [_row(method) for method in METHODS.values()]
    parts.append("## Presets\n")
    parts += [f"- `auto:{name}` is `{means}` ({why}).\n" for name, (means, why) in PRESETS.items()]
    parts.append("\n## The papers' configurations\n")
    parts.append("| method | parameters | bytes |\n|---|---:|---:|")
    for text in SHOWN:
        if text not in METHODS:
            price = cost(parse(text), AST_BASE)
            parts.append(f"| `{text}` | {price.trainable_parameters:,} | {price.bytes:,} |")
    return "\n".join(parts) + "\n" + _OWN


def _row(method: Method) -> str:
    spec = parse(method.name)
    classes = 50 if spec.trains == "head" else None
    # The number of parameters of AST-base, so that its weights need not be loaded.
    price = cost(spec, AST_BASE, classes=classes, backbone_parameters=86_187_264)
    facts = [f"{price.trainable_parameters:,} parameters", f"learning rate {spec.learning_rate:g}"]
    facts += ["plain"] if spec.starts_plain else []
    facts += ["merges"] if _merges(spec) else []
    lines = [f"### `{spec.text}`\n", f"{method.does}\n", f"    {method.equation}\n"]
    lines += [f"Source: {method.source}. {', '.join(facts)}.\n"]
    options = [f"- `{option.help}`{_meaning(option)}" for option in method.options]
    return "\n".join([*lines, *options, ""] if options else lines)


def _meaning(option: object) -> str:
    return f": {option.meaning}" if isinstance(option, Number) else ""


def _merges(spec: MethodSpec) -> bool:
    return spec.trains == "adapter" and all(
        isinstance(placement.form, Foldable | Simplifiable) for placement in spec.placements
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
