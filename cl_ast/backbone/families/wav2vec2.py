"""Wav2Vec 2.0 (Baevski et al. 2020), the first of the encoders of waveforms."""

from dataclasses import dataclass
from typing import ClassVar

from cl_ast.backbone.families.speech_encoder import SpeechEncoder


@dataclass(frozen=True, slots=True)
class Wav2Vec2(SpeechEncoder):
    """The family of `Wav2Vec2Model`."""

    kind: ClassVar[str] = "wav2vec2"
    title: ClassVar[str] = "Wav2Vec 2.0"
    stock: ClassVar[str] = "Wav2Vec2Model"
