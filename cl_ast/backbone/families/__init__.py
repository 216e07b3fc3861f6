"""The families of backbones that cl-ast knows, by the `model_type` of a checkpoint's configuration."""

from collections.abc import Mapping

from cl_ast.backbone.families.ast import Ast
from cl_ast.backbone.families.data2vec_audio import Data2VecAudio
from cl_ast.backbone.families.family import Family
from cl_ast.backbone.families.hubert import Hubert
from cl_ast.backbone.families.speech_encoder import SpeechEncoder
from cl_ast.backbone.families.unispeech import UniSpeech
from cl_ast.backbone.families.unispeech_sat import UniSpeechSat
from cl_ast.backbone.families.wav2vec2 import Wav2Vec2
from cl_ast.backbone.families.wavlm import WavLM
from cl_ast.errors import BackboneError

__all__ = ["FAMILIES", "Ast", "Family", "SpeechEncoder", "Wav2Vec2", "family_of"]

_KNOWN: tuple[Family, ...] = (Ast(), Wav2Vec2(), Hubert(), UniSpeech(), UniSpeechSat(), Data2VecAudio(), WavLM())
FAMILIES: Mapping[str, Family] = {family.kind: family for family in _KNOWN}


def family_of(kind: object, name: str) -> Family:
    """Return the family for a `model_type`. Raises BackboneError, which names the backbone, if there is none."""
    if kind not in FAMILIES:
        known = ", ".join(f"{family.title} ({word})" for word, family in FAMILIES.items())
        raise BackboneError(f"the backbone {name} is of the kind {kind!r}; cl-ast knows {known}")
    return FAMILIES[str(kind)]
