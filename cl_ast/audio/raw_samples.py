"""Waveforms to the input of a backbone that takes samples: cut or padded, and brought to one level."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.errors import AudioError

MIN_SAMPLES = 400  # 25 ms, one token of wav2vec2-base
MAX_SAMPLES = 30 * SAMPLE_RATE
_EPSILON = 1e-7  # under the square root, as transformers' Wav2Vec2FeatureExtractor has it


@dataclass(frozen=True, slots=True)
class WaveformFrontEnd:
    """What a task does to a clip before a backbone of samples hears it; stored with the task.

    Attributes:
        samples: every clip is cut or zero-padded to this many, at 16 kHz.
        normalise: whether each clip is brought to zero mean and unit variance, as the backbone was trained. The padding
            comes after it, and takes no part: neither it nor the level of a recording changes what is heard.
        kind: how a file tells this front end from log-mel.
    """

    spectrogram: ClassVar[bool] = False
    samples: int
    normalise: bool = True
    kind: str = field(default="waveform", init=False)

    def __post_init__(self) -> None:
        if not MIN_SAMPLES <= self.samples <= MAX_SAMPLES:
            raise AudioError(
                f"a clip of {self.samples} samples cannot be used; choose {MIN_SAMPLES} to {MAX_SAMPLES} at 16 kHz"
            )

    @classmethod
    def for_seconds(cls, seconds: float, *, normalise: bool = True) -> "WaveformFrontEnd":
        """The front end that holds a clip of this length."""
        return cls(min(MAX_SAMPLES, max(MIN_SAMPLES, round(seconds * SAMPLE_RATE))), normalise)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one clip's input."""
        return (self.samples,)

    def __call__(self, waveforms: Sequence[Waveform], device: torch.device | str = "cpu") -> Tensor:
        """The input of a batch: (batch, samples), float32, on `device`."""
        out = np.zeros((len(waveforms), self.samples), dtype=np.float32)
        for row, waveform in zip(out, waveforms, strict=True):
            heard = waveform[: self.samples]
            row[: len(heard)] = _normalised(heard) if self.normalise and len(heard) else heard
        return torch.from_numpy(out).to(device)


def _normalised(heard: Waveform) -> Waveform:
    exact = heard.astype(np.float64)
    level: Waveform = ((exact - exact.mean()) / np.sqrt(exact.var() + _EPSILON)).astype(np.float32)
    return level
