"""The table of methods as rows for people and scripts, without weights."""

from collections.abc import Sequence
from typing import Any

from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import cost, parse
from cl_ast.backbone import Shape

# Every row with its defaults, and the configurations of the papers' tables.
SHOWN = (
    *METHODS,
    "bottleneck:houlsby",
    "bottleneck:sequential",
    "bottleneck:ffn,sequential",
    "bottleneck:houlsby,sequential",
    "conformer:k=8",
    "conformer:houlsby",
    "lora:q,r=12",
    "lora:qkvo,r=3",
    "bottleneck:ffn+lora:qv,r=3",
)


def rows(
    specs: Sequence[str], shape: Shape, trunk_parameters: int, *, classes: int | None = None
) -> list[dict[str, Any]]:
    """Method, family, trainable parameters, bytes and source of each spec (all that are shown, for none).

    Raises:
        MethodError: a spec that cannot be read.
    """
    found = []
    for text in specs or SHOWN:
        spec = parse(text)
        price = cost(spec, shape, classes=classes, trunk_parameters=trunk_parameters)
        found.append(
            {
                "method": spec.text,
                "family": spec.family,
                "trainable_parameters": price.trainable_parameters,
                "bytes": price.bytes,
                "source": spec.source,
            }
        )
    return found
