"""The functional forms: what a delta computes, whatever the site it acts at (He et al. 2022, table 1).

A form is a frozen row of sizes with two methods: the tensors it owns, and the delta it computes from them. Forms
hold no weights. Every form accepts tensors with a leading batch dimension too, one set a row, so that a batch
whose rows belong to different tasks runs the backbone once. One family a module.
"""

from cl_ast.adapters.forms.base import (
    Base,
    Foldable,
    Form,
    Fresh,
    HeadsForm,
    Params,
    Penalised,
    Reading,
    Simplified,
    Started,
    Weight,
)
from cl_ast.adapters.forms.bottleneck import Bottleneck, Conformer, Convpass, ScaledBottleneck, WithResidual
from cl_ast.adapters.forms.compact import Compacter, OneBit
from cl_ast.adapters.forms.layers import depthwise, layer_norm, linear
from cl_ast.adapters.forms.mixtures import DenseMixture, SoftMixture, SparseMixture
from cl_ast.adapters.forms.prompts import GatedPrefix, HeadBottleneck, Prefix, Prompt
from cl_ast.adapters.forms.scaling import Norm, ScaleShift, Shift
from cl_ast.adapters.forms.weights import BlockAffine, LowRank, PartialConnections, SingularVectors

__all__ = [
    "Base",
    "BlockAffine",
    "Bottleneck",
    "Compacter",
    "Conformer",
    "Convpass",
    "DenseMixture",
    "Foldable",
    "Form",
    "Fresh",
    "GatedPrefix",
    "HeadBottleneck",
    "HeadsForm",
    "LowRank",
    "Norm",
    "OneBit",
    "Params",
    "PartialConnections",
    "Penalised",
    "Prefix",
    "Prompt",
    "Reading",
    "ScaleShift",
    "ScaledBottleneck",
    "Shift",
    "Simplified",
    "SingularVectors",
    "SoftMixture",
    "SparseMixture",
    "Started",
    "Weight",
    "WithResidual",
    "depthwise",
    "layer_norm",
    "linear",
]
