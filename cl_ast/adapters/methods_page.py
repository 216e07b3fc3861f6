"""docs/methods.md, made from the table: `python -m cl_ast.adapters.methods_page docs/methods.md`."""

import sys
from pathlib import Path

from cl_ast.adapters.forms import Foldable, Simplified
from cl_ast.adapters.listing import SHOWN
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS, PRESETS
from cl_ast.adapters.options import Number
from cl_ast.adapters.spec import MethodSpec, cost, parse
from cl_ast.backbone.sites import AST_BASE

_HEAD = """# Methods

Made from the table in `cl_ast/adapters/` by `python -m cl_ast.adapters.methods_page docs/methods.md`; a test checks
that it is current. Parameters are of AST-base, counted as the papers do: without the head, except that a linear probe
is its head (here for 50 classes) and BitFit counts the final LayerNorm's bias.

h is what a block gives and x what it takes. "Plain" rows start as the backbone itself; "merges" means that
`cl_ast.tasks.merging.merged` folds the method into a copy of the backbone.

Rows combine with `+`: `bottleneck:ffn+lora:qv,r=3`. Options are written after a colon, in any order; what is left out
takes the default below. Adapters at a block train that block's LayerNorm too, as the papers do.

Every adapter also takes `from=N`: it acts in layers N and up only, counted from 0 (`--from-layer N` writes it behind
every part). Prompts then stand before layer N's input. A training computes the layers below once a clip and keeps what
they give, and a task costs only what its layers cost.
"""
_OWN = """
## A method of your own

A form is a frozen dataclass with `label`, `fresh`, `weights` and `delta`; a row is a `Method`. Put the row beside the
others in a mapping of your own and hand that over; nothing in the package changes:

    TABLE = {**METHODS, "mine": Method("mine", "what it does", "its equation", "its source", options, place)}
    spec = parse("mine:r=4+lora", TABLE)
    Manager.open("my-registry", methods=TABLE).add_task(task, method=spec)

`tests/cl_ast/test_methods.py` has one that is trained, stored and loaded.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "## The rows\n"]
    parts += [_row(method) for method in METHODS.values()]
    parts.append("## Presets\n")
    parts += [f"- `auto:{name}` is `{means}` ({why}).\n" for name, (means, why) in PRESETS.items()]
    parts.append("\n## The papers' configurations\n")
    parts.append("| written | parameters | bytes |\n|---|---:|---:|")
    for text in SHOWN:
        if text not in METHODS:
            price = cost(parse(text), AST_BASE)
            parts.append(f"| `{text}` | {price.trainable_parameters:,} | {price.bytes:,} |")
    return "\n".join(parts) + "\n" + _OWN


def _row(method: Method) -> str:
    spec = parse(method.name)
    classes = 50 if spec.trains == "head" else None
    # AST-base's own size; its weights are not needed.
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
        isinstance(placement.form, Foldable | Simplified) for placement in spec.placements
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
