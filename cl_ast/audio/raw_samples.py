"""Prepares waveforms for a backbone that takes raw samples: cut or padded, and normalised."""

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
EPSILON = 1e-7  # under the square root, as transformers' Wav2Vec2FeatureExtractor has it


@dataclass(frozen=True, slots=True)
class WaveformFrontEnd:
    """Turns clips into the samples that a backbone such as Wav2Vec 2.0 takes; a task stores it with its weights.

    Attributes:
        spectrogram: whether the features are a spectrogram, which can be masked for augmentation.
        samples: every clip is cut or zero-padded to this many samples at 16 kHz.
        normalise: whether each clip is brought to zero mean and unit variance, as the clips that the backbone was
            trained on. Clips are padded afterwards, so that neither the padding nor the level of a recording changes
            the normalised samples.
        kind: tells this front end from log-mel in a file.
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
        """Return the front end for clips of this length."""
        return cls(min(MAX_SAMPLES, max(MIN_SAMPLES, round(seconds * SAMPLE_RATE))), normalise)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one clip's features."""
        return (self.samples,)

    @property
    def seconds(self) -> float:
        """How much of a clip it takes, in seconds."""
        return self.samples / SAMPLE_RATE

    def __call__(self, waveforms: Sequence[Waveform], device: torch.device | str = "cpu") -> Tensor:
        """Return the features of a batch: (batch, samples), float32, on `device`."""
        out = np.zeros((len(waveforms), self.samples), dtype=np.float32)
        for row, waveform in zip(out, waveforms, strict=True):
            cut = waveform[: self.samples]
            row[: len(cut)] = _normalised(cut) if self.normalise and len(cut) else cut
        return torch.from_numpy(out).to(device)


def _normalised(samples: Waveform) -> Waveform:
    exact = samples.astype(np.float64)
    normalised: Waveform = ((exact - exact.mean()) / np.sqrt(exact.var() + EPSILON)).astype(np.float32)
    return normalised
