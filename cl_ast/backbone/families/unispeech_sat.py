"""UniSpeech-SAT (Chen et al. 2022): HuBERT that was also trained to tell speakers apart."""

from dataclasses import dataclass
from typing import ClassVar

from cl_ast.backbone.families.speech_encoder import SpeechEncoder


@dataclass(frozen=True, slots=True)
class UniSpeechSat(SpeechEncoder):
    """The family of `UniSpeechSatModel`."""

    kind: ClassVar[str] = "unispeech-sat"
    title: ClassVar[str] = "UniSpeech-SAT"
    stock: ClassVar[str] = "UniSpeechSatModel"
