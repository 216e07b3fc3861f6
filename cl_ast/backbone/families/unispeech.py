"""UniSpeech (Wang et al. 2021): Wav2Vec 2.0 that was trained on phonemes and on quantised frames at once."""

from dataclasses import dataclass
from typing import ClassVar

from cl_ast.backbone.families.speech_encoder import SpeechEncoder


@dataclass(frozen=True, slots=True)
class UniSpeech(SpeechEncoder):
    """The family of `UniSpeechModel`."""

    kind: ClassVar[str] = "unispeech"
    title: ClassVar[str] = "UniSpeech"
    stock: ClassVar[str] = "UniSpeechModel"
