"""The families of backbones that cl-ast knows, by the `model_type` of a checkpoint's configuration."""

from collections.abc import Mapping

from cl_ast.backbone.families.ast import Ast
from cl_ast.backbone.families.family import Family
from cl_ast.backbone.families.wav2vec2 import Wav2Vec2
from cl_ast.errors import BackboneError

__all__ = ["FAMILIES", "Ast", "Family", "Wav2Vec2", "family_of"]

FAMILIES: Mapping[str, Family] = {"audio-spectrogram-transformer": Ast(), "wav2vec2": Wav2Vec2()}


def family_of(kind: object, name: str) -> Family:
    """Return the family for a `model_type`. Raises BackboneError, which names the backbone, if there is none."""
    if kind not in FAMILIES:
        known = " and ".join(f"{family.title} ({word})" for word, family in FAMILIES.items())
        raise BackboneError(f"the backbone {name} is of the kind {kind!r}; cl-ast knows {known}")
    return FAMILIES[str(kind)]
