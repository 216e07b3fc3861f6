"""data2vec for audio (Baevski et al. 2022): trained to predict what the layers of an averaged copy of itself compute.

Its positions come from several small convolutions in a row, which are not weight-normed. It is always post-norm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cl_ast.backbone.families.speech_encoder import RENAMED, SpeechEncoder


@dataclass(frozen=True, slots=True)
class Data2VecAudio(SpeechEncoder):
    """The family of `Data2VecAudioModel`."""

    kind: ClassVar[str] = "data2vec-audio"
    title: ClassVar[str] = "data2vec-audio"
    stock: ClassVar[str] = "Data2VecAudioModel"
    renamed: ClassVar[Sequence[tuple[str, str]]] = (
        *RENAMED,
        (r"^encoder\.pos_conv_embed\.layers\.(\d+)\.conv\.", r"embed.position.\1."),
    )
