"""The functional forms: how a delta is computed, at whatever site it acts (He et al. 2022, table 1).

A form is a frozen dataclass of sizes. It says which tensors it has (`weights`) and computes a delta from them
(`delta`), but holds no weights itself. Every form also accepts tensors with a leading batch dimension, one set for each
row, so that a batch whose rows belong to different tasks runs the backbone once. Each module has one family of forms.
"""

from cl_ast.adapters.forms.adaptive import AdaptiveRank
from cl_ast.adapters.forms.base import (
    Allocated,
    Anchored,
    Base,
    Foldable,
    Form,
    ForTraining,
    Fresh,
    HeadsForm,
    Joined,
    Located,
    Paddable,
    Params,
    Penalised,
    Place,
    ReadsBackbone,
    ReadsShared,
    Rewound,
    Simplifiable,
    StartsFromBackbone,
    Weight,
)
from cl_ast.adapters.forms.bottleneck import Bottleneck, Conformer, Convpass, Identity, ScaledBottleneck, WithResidual
from cl_ast.adapters.forms.compact import CentredOneBit, Compacter, OneBit
from cl_ast.adapters.forms.layers import depthwise, layer_norm, linear
from cl_ast.adapters.forms.mixtures import DenseMixture, SoftMixture, SparseMixture
from cl_ast.adapters.forms.prompts import GatedPrefix, HeadBottleneck, MadePrefix, Prefix, Prompt
from cl_ast.adapters.forms.scaling import Norm, ScaleShift, Shift
from cl_ast.adapters.forms.shared_parts import HalfShared, HyperNetwork, SkillMixture
from cl_ast.adapters.forms.sparse import LargestChanges, SparseChange
from cl_ast.adapters.forms.weights import BlockAffine, Decomposed, LowRank, PartialConnections, SingularVectors

__all__ = [
    "AdaptiveRank",
    "Allocated",
    "Anchored",
    "Base",
    "BlockAffine",
    "Bottleneck",
    "CentredOneBit",
    "Compacter",
    "Conformer",
    "Convpass",
    "Decomposed",
    "DenseMixture",
    "Foldable",
    "ForTraining",
    "Form",
    "Fresh",
    "GatedPrefix",
    "HalfShared",
    "HeadBottleneck",
    "HeadsForm",
    "HyperNetwork",
    "Identity",
    "Joined",
    "LargestChanges",
    "Located",
    "LowRank",
    "MadePrefix",
    "Norm",
    "OneBit",
    "Paddable",
    "Params",
    "PartialConnections",
    "Penalised",
    "Place",
    "Prefix",
    "Prompt",
    "ReadsBackbone",
    "ReadsShared",
    "Rewound",
    "ScaleShift",
    "ScaledBottleneck",
    "Shift",
    "Simplifiable",
    "SingularVectors",
    "SkillMixture",
    "SoftMixture",
    "SparseChange",
    "SparseMixture",
    "StartsFromBackbone",
    "Weight",
    "WithResidual",
    "depthwise",
    "layer_norm",
    "linear",
]
