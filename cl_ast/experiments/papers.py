"""The tables and figures of the two papers on adapters for AST, as data: what was trained, and what it reached.

PETL: Cappellazzo et al., Parameter-Efficient Transfer Learning of Audio Spectrogram Transformers (2023).
CONFORMER: the same with conformer adapters, by Cappellazzo, Falavigna, Brutti and Ravanelli (2024).

Numbers are test accuracies in percent as they are printed. Of figures no numbers are printed: their points are chosen
here, within what the papers say of them. The figure of t-SNE plots is no grid; `cl-ast embed --plot` draws such plots.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cl_ast.training.options import TrainOptions

PETL = "Cappellazzo et al., PETL of AST (2023)"
CONFORMER = "Cappellazzo et al., PETL of AST with conformer adapters (2024)"
AST, WAV2VEC = "ast-base", "facebook/wav2vec2-base"

# How the papers' code trains: no linear probe, the start of each clip, and position embeddings left out.
OPTIONS = TrainOptions(head="fresh", crop="start")
POSITIONS = "zeros"


@dataclass(frozen=True, slots=True)
class Row:
    """A method of a table.

    Attributes:
        name: as the paper calls it.
        method: as `--method` takes it; what it leaves open is as the recipe of each data set has it.
        parameters: as printed.
        printed: the accuracy of each column, in percent; none for a figure.
        own: the method of a data set where it is another.
        average: the printed mean over the data sets.
        value: of the option that a figure is drawn against.
    """

    name: str
    method: str
    parameters: str = ""
    printed: tuple[float, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)
    average: float | None = None
    value: float | None = None

    def on(self, data_set: str) -> str:
        """Return the method of a data set."""
        return self.own.get(data_set, self.method)


@dataclass(frozen=True, slots=True)
class Published:
    """A table or figure of a paper.

    Attributes:
        title: what it shows.
        source: paper, table or figure, and section.
        columns: data sets, each with the training clips per class or None for all.
        backbone: what was adapted.
        sweep: the option that a figure is drawn against; without one it is the number of parameters.
    """

    name: str
    title: str
    source: str
    columns: tuple[tuple[str, int | None], ...]
    rows: tuple[Row, ...]
    backbone: str = AST
    sweep: str | None = None

    @property
    def data_sets(self) -> tuple[str, ...]:
        """The data sets, in the order of the columns."""
        return tuple(dict.fromkeys(name for name, _ in self.columns))


def _whole(*data_sets: str) -> tuple[tuple[str, int | None], ...]:
    return tuple((name, None) for name in data_sets)


FOUR = _whole("esc50", "us8k", "gsc", "fsc")
TWO = _whole("esc50", "fsc")
FEW = (
    *(("esc50", count) for count in (1, 2, 4, 8)),
    *(("gsc", count) for count in (2, 8, 32, 64)),
)

FOLDS: Mapping[str, int] = {"esc50": 5, "us8k": 10, "iemocap": 10}
"""How many folds test in turn, of the data sets that have folds."""

# Both papers print these rows, with the same numbers. The mean of the first is 90.60; both print 90.07.
_FULL = Row("full fine-tuning", "full", "85.5M", (87.48, 84.31, 97.31, 93.29), average=90.07)
_LINEAR = Row("linear", "linear", "9-40K", (75.85, 77.93, 41.78, 27.52), average=55.77)
_BITFIT = Row("BitFit", "bitfit", "102K", (86.05, 82.17, 85.51, 63.85), average=79.40)
_SPT = Row("SPT-300", "prompt:shallow,n=300", "230K", (84.30, 79.73, 75.28, 40.85), average=70.04)
_DPT = Row("DPT-25", "prompt:deep,n=25", "230K", (86.52, 83.67, 89.18, 68.60), average=81.99)
_PREFIX = Row("Pref-T 24", "prefix:n=24", "221K", (82.93, 81.39, 83.46, 55.75), average=75.88)
_LORA = Row("LoRA", "lora:qv,r=6", "221K", (86.45, 83.83, 93.61, 76.00), average=84.97)
_BOTTLENECK = "bottleneck:pfeiffer,mhsa,parallel"
_BOTTLE = Row("bottleneck, PF par", _BOTTLENECK, "249K", (88.38, 83.44, 91.33, 73.19), average=84.09)
_BOTTLE_HOU = Row("bottleneck, HOU par", "bottleneck:houlsby", "498K", (88.00, 82.80, 91.75, 78.71), average=85.32)

_FEW_DPT = Row("DPT-25", "prompt:deep,n=25", "", (32.7, 44.3, 57.0, 71.9, 9.4, 18.7, 43.1, 57.1))
_FEW_LORA = Row("LoRA", "lora:qv,r=6", "", (31.8, 42.2, 58.8, 70.7, 6.8, 15.2, 41.8, 59.8))
_FEW_BOTTLE = Row("bottleneck", _BOTTLENECK, "", (33.0, 45.5, 60.2, 72.8, 7.2, 16.0, 47.9, 66.6))


def _sized(name: str, method: str, option: str, values: Sequence[int]) -> Iterator[Row]:
    """Yield a row for each value of an option."""
    for value in values:
        yield Row(f"{name}, {option}={value}", f"{method},{option}={value}", value=value)


# About 50K to 1M parameters over AST-base, which is the range of both figures.
_SCALED = (
    *_sized("DPT", "prompt:deep", "n", (5, 12, 25, 50, 100)),
    *_sized("LoRA", "lora:qv", "r", (1, 3, 6, 12, 24)),
    *_sized("bottleneck", _BOTTLENECK, "r", (2, 6, 12, 24, 48)),
)
_PETL_SCALED = (*_SCALED, *_sized("convpass", "convpass:pfeiffer", "r", (2, 6, 12, 24, 48)))

# In tables V and VI.
_TWICE = Row("PF MHSA, par, before, x2", f"{_BOTTLENECK},r=24", "470K", (88.50, 78.19), average=83.35)
_HOU_PAR = Row("HOU par", "bottleneck:houlsby", "498K", (88.00, 78.71), average=83.35)

_ALL = (
    Published(
        "petl-table-1",
        "all methods on four data sets",
        f"{PETL}, table I, section III-B",
        FOUR,
        (
            _FULL,
            _LINEAR,
            _BITFIT,
            _SPT,
            _DPT,
            _PREFIX,
            _BOTTLE,
            Row(
                "bottleneck, PF seq", "bottleneck:ffn,sequential,after", "249K",
                (86.77, 82.86, 91.41, 72.45), average=83.37,
            ),
            _BOTTLE_HOU,
            Row(
                "bottleneck, HOU seq", "bottleneck:houlsby,sequential", "498K",
                (87.75, 83.28, 91.76, 76.45), average=84.81,
            ),
            Row("convpass, PF par", "convpass:pfeiffer", "254K", (87.85, 82.72, 92.27, 72.84), average=83.92),
            Row(
                "convpass, PF seq", "convpass:ffn,sequential,after", "254K",
                (86.15, 83.10, 89.21, 70.31), average=82.19,
            ),
            Row("convpass, HOU par", "convpass:houlsby", "508K", (87.15, 82.75, 92.55, 77.79), average=85.06),
            Row(
                "convpass, HOU seq", "convpass:houlsby,sequential", "508K",
                (87.58, 83.06, 89.45, 74.02), average=83.53,
            ),
            _LORA,
        ),
    ),
    Published(
        "petl-few-shot",
        "few training clips per class",
        f"{PETL}, table II, section III-B",
        FEW,
        (
            _FEW_DPT,
            _FEW_LORA,
            _FEW_BOTTLE,
            Row("convpass", "convpass:pfeiffer", "", (32.6, 45.4, 60.3, 73.2, 7.3, 16.2, 47.8, 66.8)),
        ),
    ),
    Published(
        "petl-table-3",
        "where and how a bottleneck adapter is inserted",
        f"{PETL}, table III, section III-C",
        FOUR,
        (
            Row(
                "FFN, seq/par, after", "bottleneck:ffn,sequential,after", "",
                (86.77, 82.86, 91.41, 72.45), average=83.37,
            ),
            Row(
                "FFN, seq, before", "bottleneck:ffn,sequential,before", "",
                (54.68, 71.60, 86.80, 61.44), average=68.63,
            ),
            Row("FFN, par, before", "bottleneck:ffn,parallel", "", (87.07, 82.72, 90.84, 72.08), average=83.18),
            Row(
                "MHSA, seq/par, after", "bottleneck:mhsa,sequential,after", "",
                (87.80, 83.08, 89.30, 64.40), average=81.15,
            ),
            Row(
                "MHSA, seq, before", "bottleneck:mhsa,sequential,before", "",
                (76.03, 81.30, 90.74, 73.76), average=80.46,
            ),
            Row("MHSA, par, before", _BOTTLENECK, "", (88.38, 83.44, 91.33, 73.19), average=84.09),
        ),
    ),
    Published(
        "petl-table-4",
        "which matrices LoRA approximates",
        f"{PETL}, table IV, section III-C",
        FOUR,
        (
            Row("W_q", "lora:q,r=12", "221K", (83.05, 82.56, 89.08, 61.84), average=79.13),
            Row("W_q, W_k", "lora:qk,r=6", "221K", (84.15, 82.35, 91.51, 65.59), average=80.90),
            Row("W_q, W_v", "lora:qv,r=6", "221K", (86.45, 83.83, 93.61, 76.00), average=84.97),
            Row("W_q, W_k, W_v, W_o", "lora:qkvo,r=3", "221K", (86.15, 83.51, 94.08, 78.90), average=85.66),
        ),
    ),
    Published(
        "petl-table-5",
        "bottleneck adapters of the same number of parameters",
        f"{PETL}, table V, appendix A",
        TWO,
        (
            Row("PF FFN, seq, after", "bottleneck:ffn,sequential,after", "249K", (86.77, 72.45), average=79.61),
            Row("PF MHSA, par, before", _BOTTLENECK, "249K", (88.38, 73.19), average=80.79),
            Row(
                "PF FFN, seq, after, x2", "bottleneck:ffn,sequential,after,r=24", "470K",
                (87.18, 73.60), average=80.39,
            ),
            _TWICE,
            Row("HOU seq", "bottleneck:houlsby,sequential", "498K", (87.75, 76.45), average=82.10),
            _HOU_PAR,
            Row("HOU mixed", "bottleneck:houlsby,mixed", "498K", (87.75, 78.41), average=83.08),
            Row("HYDRA FFN", "hydra:ffn", "470K", (87.25, 76.18), average=81.72),
        ),
    ),
    Published(
        "petl-table-6",
        "several methods at once",
        f"{PETL}, table VI, appendix B",
        TWO,
        (
            _TWICE,
            _HOU_PAR,
            Row("LoRA", "lora:qv,r=12", "442K", (86.70, 82.84), average=84.77),
            Row("adapter + LoRA", "bottleneck:ffn+lora:qv", "470K", (88.00, 81.54), average=84.77),
            Row("adapter + DPT-25", "bottleneck:ffn+prompt:deep,n=25", "479K", (86.60, 77.15), average=81.88),
            Row(
                "adapter + DPT-14 + LoRA", "bottleneck:ffn+prompt:deep,n=14+lora:qv,r=3", "488K",
                (86.80, 79.83), average=83.32,
            ),
        ),
    ),
    Published(
        "petl-table-7",
        "bottleneck adapters with and without residual",
        f"{PETL}, table VII, appendix C",
        TWO,
        (
            Row("seq, residual", "bottleneck:ffn,sequential,after", "", (86.77, 72.45)),
            Row("seq, no residual", "bottleneck:ffn,sequential,after,noresidual", "", (69.20, 56.48)),
            Row("par, no residual", "bottleneck:ffn,parallel", "", (87.07, 72.08)),
            Row("par, residual", "bottleneck:ffn,parallel,residual", "", (73.20, 69.28)),
        ),
    ),
    Published(
        "petl-scaling",
        "accuracy by the number of parameters",
        f"{PETL}, figure 3, section III-B",
        _whole("gsc", "fsc"),
        _PETL_SCALED,
    ),
    Published(
        "petl-scaling-esc50",
        "accuracy by the number of parameters",
        f"{PETL}, figure 4, appendix D",
        _whole("esc50"),
        _PETL_SCALED,
    ),
    Published(
        "conformer-table-1",
        "all methods on four data sets",
        f"{CONFORMER}, table 1, section 3.2",
        FOUR,
        (
            _FULL,
            _LINEAR,
            _BITFIT,
            _SPT,
            _DPT,
            _PREFIX,
            _LORA,
            _BOTTLE,
            _BOTTLE_HOU,
            Row("conformer, Pfeiffer", "conformer:pfeiffer", "271K", (88.30, 84.57, 96.28, 95.48), average=91.16),
            Row("conformer, Houlsby", "conformer:houlsby", "542K", (85.97, 83.59, 96.16, 96.34), average=90.51),
        ),
    ),
    Published(
        "conformer-few-shot",
        "few training clips per class",
        f"{CONFORMER}, table 2, section 3.3",
        FEW,
        (
            _FEW_DPT,
            _FEW_LORA,
            _FEW_BOTTLE,
            Row("conformer", "conformer:pfeiffer", "", (30.7, 41.0, 56.2, 71.1, 5.9, 15.5, 58.7, 77.5)),
        ),
    ),
    Published(
        "conformer-scaling",
        "accuracy by the number of parameters",
        f"{CONFORMER}, figure 2, section 3.3",
        _whole("gsc", "fsc"),
        (*_SCALED, *_sized("conformer", "conformer:pfeiffer", "r", (1, 4, 8, 16, 32))),
    ),
    Published(
        "conformer-kernel",
        "accuracy by the kernel size of the conformer adapter",
        f"{CONFORMER}, figure 3, section 3.3",
        (("esc50", 4), ("gsc", 32), ("esc50", None), ("gsc", None)),
        tuple(_sized("conformer", "conformer:pfeiffer", "k", (1, 4, 8, 16, 24, 31))),
        sweep="k",
    ),
    Published(
        "conformer-wav2vec",
        "adapters over Wav2Vec 2.0",
        f"{CONFORMER}, table 3, section 3.3",
        _whole("gsc", "fsc", "iemocap"),
        (
            Row("full fine-tuning", "full:top=3", "90M", (98.16, 99.58, 70.05), average=89.26),
            Row("linear", "linear", "24K, 4K", (84.93, 30.95, 36.82), average=50.90),
            Row(
                "bottleneck", _BOTTLENECK, "250K, 895K", (94.96, 96.41, 48.32),
                own={"iemocap": f"{_BOTTLENECK},r=48,nonorm"}, average=79.90,
            ),
            Row(
                "conformer", "conformer:pfeiffer", "272K, 927K", (95.24, 98.33, 55.81),
                own={"iemocap": "conformer:pfeiffer,r=32,nonorm"}, average=83.13,
            ),
        ),
        backbone=WAV2VEC,
    ),
)  # fmt: skip

PUBLISHED: Mapping[str, Published] = {one.name: one for one in _ALL}
"""Every table and figure, by its name."""
