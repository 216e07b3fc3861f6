"""Lists the methods with their sizes, for people and scripts; no weights are loaded."""

from collections.abc import Sequence
from typing import Any

from cl_ast.adapters.methods import METHODS, PRESETS
from cl_ast.adapters.papers import IN_PAPERS, row_in_papers
from cl_ast.adapters.spec import MethodSpec, cost, parse
from cl_ast.backbone.sites import Shape

# Every method with its defaults, and the configurations of the papers' tables.
SHOWN = (
    *METHODS,
    *(f"auto:{name}" for name in PRESETS),
    "prompt:shallow",
    "prefix-adapter:added",
    "scaled:learned",
    "sequential:mhsa",
    "ssf:layers",
    "onebit:magnitude",
    "bottleneck:r=24",
    "bottleneck:houlsby",
    "bottleneck:houlsby,mixed",
    "bottleneck:sequential",
    "bottleneck:sequential,before",
    "bottleneck:sequential,noresidual",
    "bottleneck:ffn",
    "bottleneck:ffn,sequential",
    "bottleneck:ffn,sequential,before",
    "bottleneck:ffn,sequential,before,noresidual",
    "bottleneck:ffn,sequential,before,skip",
    "bottleneck:ffn,residual",
    "bottleneck:houlsby,sequential",
    "convpass:houlsby",
    "convpass:houlsby,sequential",
    "conformer:k=8",
    "conformer:houlsby",
    "lora:q,r=12",
    "lora:qk,r=6",
    "lora:qkvo,r=3",
    "lora:ffn,r=2",
    "bottleneck:ffn+lora:qv",
    "bottleneck:ffn+prompt:deep",
    "bottleneck:ffn+prompt:deep,n=14+lora:qv,r=3",
)
# What `cl-ast methods` lists; `full:top=3` only over a backbone that has three layers.
LISTED = tuple(dict.fromkeys((*SHOWN, *IN_PAPERS)))


def rows(
    specs: Sequence[str], shape: Shape, backbone_parameters: int, *, classes: int | None = None
) -> list[dict[str, Any]]:
    """Return method, family, trainable parameters, bytes and source of each spec; of all of `LISTED` if none is given.

    The source of a method that is a row of a table of the papers says which row.

    Raises:
        MethodError: a spec cannot be parsed.
    """
    found = []
    for text in specs or LISTED:
        spec = parse(text)
        if not specs and spec.top > shape.depth:
            continue
        price = cost(spec, shape, classes=classes, backbone_parameters=backbone_parameters)
        preset = text.strip().lower().removeprefix("auto:")
        found.append(
            {
                # A preset is shown by its name, since the method that it stands for has a row of its own.
                "method": f"auto:{preset}" if preset in PRESETS else spec.text,
                "family": spec.family,
                "trainable_parameters": price.trainable_parameters,
                "bytes": price.bytes,
                "source": PRESETS[preset][1] if preset in PRESETS else _source(spec),
            }
        )
    return found


def _source(spec: MethodSpec) -> str:
    row = row_in_papers(spec)
    return f"{row} ({spec.source})" if row else spec.source
