"""HuBERT (Hsu et al. 2021): Wav2Vec 2.0 that was trained to name the clusters of masked frames."""

from dataclasses import dataclass
from typing import ClassVar

from cl_ast.backbone.families.speech_encoder import SpeechEncoder


@dataclass(frozen=True, slots=True)
class Hubert(SpeechEncoder):
    """The family of `HubertModel`."""

    kind: ClassVar[str] = "hubert"
    title: ClassVar[str] = "HuBERT"
    stock: ClassVar[str] = "HubertModel"
