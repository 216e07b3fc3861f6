"""The table of adaptation methods. Each method is a row that says which forms act at which sites.

Default sizes and sites are those of the papers. docs/methods.md is generated from this table.

The table is read-only. To add a method, make a mapping of your own, `{**METHODS, "mine": Method("mine", …)}`, and
pass it to `spec.parse`, `task_file.from_bytes` or `Manager`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from cl_ast.adapters.method import Method
from cl_ast.adapters.method_table import attention, blocks, shared_parts, weights
from cl_ast.adapters.method_table.shared_options import CONFORMER, PETL
from cl_ast.adapters.options import TOP

_ENDS = (
    Method(
        "linear",
        "the head and the final LayerNorm on frozen features",
        "y = mean(LN(X)) W + b",
        f"{PETL}, table I",
        trains="head",
        learning_rate=1e-3,
        counted_in_head=lambda _: ("head.norm.weight", "head.norm.bias", "head.weight", "head.bias"),
    ),
    Method(
        "full",
        "every weight of a copy of the backbone, for comparison",
        "θ ← θ + Δθ",
        f"{PETL}, table I; the last three layers of Wav2Vec 2.0: {CONFORMER}, table 3",
        (TOP,),
        trains="backbone",
        learning_rate=5e-5,
        settle=lambda values: {**values, TOP.name: values[TOP.name] or ""},  # 0, all layers, is the default
        # One number added to every key changes no attention, so the bias of the keys has no gradient.
        without_gradient=("k.bias",),
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType(
    {method.name: method for method in (*_ENDS, *weights.ROWS, *attention.ROWS, *blocks.ROWS, *shared_parts.ROWS)}
)

# Written `auto:NAME`. A task stores the method that the preset stands for, so that a later, better choice of the
# preset does not change tasks that exist.
PRESETS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # The best mean of ESC-50 and US8K, and of GSC and FSC: table 1 of the conformer paper; kernels: section 3.3.
        "sound": ("conformer:pfeiffer,k=8", f"{CONFORMER}, table 1: best mean of ESC-50 and US8K"),
        "speech": ("conformer:houlsby,k=31", f"{CONFORMER}, table 1: best mean of GSC and FSC"),
    }
)
