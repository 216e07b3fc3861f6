"""The table of adaptation methods: a method is a row, a row is a list of placements.

Sizes and places are the papers' defaults. docs/methods.md is made from this table.

The table is a plain mapping that nothing changes. A row of your own goes into a mapping of your own, which
`spec.parse`, `task_file.from_bytes` and `Manager` take: `{**METHODS, "mine": Method("mine", …)}`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from cl_ast.adapters.method import Method
from cl_ast.adapters.method_table import attention, blocks, weights
from cl_ast.adapters.method_table.shared_options import CONFORMER, PETL

_ENDS = (
    Method(
        "linear",
        "the head and the final LayerNorm on frozen features",
        "y = mean(LN(X)) W + b",
        f"{PETL}, table I",
        trains="head",
        learning_rate=1e-3,
        counts=("head.norm.weight", "head.norm.bias", "head.weight", "head.bias"),
    ),
    Method(
        "full",
        "every weight of a copy of the backbone, for comparison",
        "θ ← θ + Δθ",
        f"{PETL}, table I",
        trains="backbone",
        learning_rate=5e-5,
        # As for bitfit.
        still=("k.bias",),
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType(
    {method.name: method for method in (*_ENDS, *weights.ROWS, *attention.ROWS, *blocks.ROWS)}
)

# Written `auto:NAME`. What is stored is what it stands for, so that a better choice later changes no task.
PRESETS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # The best mean of ESC-50 and US8K, and of GSC and FSC: table 1 of the conformer paper; kernels: section 3.3.
        "sound": ("conformer:pfeiffer,k=8", f"{CONFORMER}, table 1: best mean of ESC-50 and US8K"),
        "speech": ("conformer:houlsby,k=31", f"{CONFORMER}, table 1: best mean of GSC and FSC"),
    }
)
