"""Says which method is which row of which table in the papers that cl-ast reproduces."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from cl_ast.adapters.spec import MethodSpec, parse

# In the words of the tables. "PETL" is the paper on bottleneck, convpass and LoRA, "conformer" that on the conformer.
IN_PAPERS: Mapping[str, str] = MappingProxyType(
    {
        "full": "PETL table I, Full FT; conformer table 1, FFT",
        "full:top=3": "conformer table 3, FFT, as its code trains it",
        "linear": "PETL table I, Linear; conformer tables 1 and 3, Linear",
        "bitfit": "PETL table I, BitFit",
        "prompt:shallow": "PETL table I, SPT-300",
        "prompt": "PETL tables I and II, DPT-25",
        "prefix": "PETL table I, Pref-T 24",
        "lora": "PETL tables I and II, LoRA; table IV, W_q, W_v",
        "lora:q,r=12": "PETL table IV, W_q",
        "lora:qk,r=6": "PETL table IV, W_q, W_k",
        "lora:qkvo,r=3": "PETL table IV, W_q, W_k, W_v, W_o",
        "lora:r=12": "PETL table VI, LoRA",
        "bottleneck": "PETL table I, PF par; table III, MHSA-Par-Before; table V, PF MHSA-Par-Before",
        "bottleneck:ffn,sequential": (
            "PETL table I, PF seq; table III, FFN-Seq/Par-After; table V, PF FFN-Seq-After; "
            "table VII, Seq with residual"
        ),
        "bottleneck:houlsby": "PETL tables I, V and VI, HOU par",
        "bottleneck:houlsby,sequential": "PETL tables I and V, HOU seq",
        "bottleneck:houlsby,mixed": "PETL table V, HOU mixed",
        "bottleneck:ffn": "PETL table III, FFN-Par-Before; table VII, Par without residual",
        "bottleneck:ffn,sequential,before": "PETL table III, FFN-Seq-Before",
        "bottleneck:sequential": "PETL table III, MHSA-Seq/Par-After",
        "bottleneck:sequential,before": "PETL table III, MHSA-Seq-Before",
        "bottleneck:r=24": "PETL tables V and VI, PF MHSA-Par-Before x2",
        "bottleneck:ffn,sequential,r=24": "PETL table V, PF FFN-Seq-After x2",
        "hydra": "PETL table V, HYDRA FFN",
        "bottleneck:ffn+lora:qv": "PETL table VI, Adapter + LoRA",
        "bottleneck:ffn+prompt:deep": "PETL table VI, Adapter + DPT-25",
        "bottleneck:ffn+prompt:deep,n=14+lora:qv,r=3": "PETL table VI, Adapter + DPT-14 + LoRA",
        "bottleneck:ffn,sequential,noresidual": "PETL table VII, Seq without residual",
        "bottleneck:ffn,residual": "PETL table VII, Par with residual",
        "convpass": "PETL table I, Convpass PF par",
        "convpass:ffn,sequential": "PETL table I, Convpass PF seq",
        "convpass:houlsby": "PETL table I, Convpass HOU par",
        "convpass:houlsby,sequential": "PETL table I, Convpass HOU seq",
        "conformer": "conformer table 1, Pfeiffer, for speech",
        "conformer:k=8": "conformer table 1, Pfeiffer, for sounds",
        "conformer:houlsby": "conformer table 1, Houlsby, for speech",
        "conformer:houlsby,k=8": "conformer table 1, Houlsby, for sounds",
        "bottleneck:ffn,r=48,nonorm": "conformer table 3, Bottle for IEMOCAP",
        "conformer:ffn,r=32,nonorm": "conformer table 3, Conf for IEMOCAP",
    }
)


def row_in_papers(spec: MethodSpec) -> str:
    """Return the rows of the papers' tables that this very method is, however it is written; empty if it is none."""
    return _ROWS.get(_what(spec), "")


def _what(spec: MethodSpec) -> MethodSpec:
    """Return the method without its text, since some methods can be written in two ways."""
    return replace(spec, text="")


_ROWS = {_what(parse(text)): row for text, row in IN_PAPERS.items()}
