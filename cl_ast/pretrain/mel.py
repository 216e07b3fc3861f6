"""Computes the backbone's input: the log-mel of one waveform, and its normalisation as a step of its own."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cl_ast.audio.log_mel import BINS, SHIFT, WINDOW, LogMelFrontEnd, frame_count
from cl_ast.audio.log_mel import log_mel as _batched

__all__ = ["BINS", "PADDING", "SHIFT", "log_mel", "normalise", "samples_for"]

_FRONT_END = LogMelFrontEnd(frames=100)  # Only its normalisation is used, which does not depend on the length.
PADDING = _FRONT_END.padding


def samples_for(frames: int) -> int:
    """Return the number of samples that give exactly this number of frames."""
    return WINDOW + SHIFT * (frames - 1)


def log_mel(samples: NDArray[np.float64] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log-mel energies (frames, 128) of a whole 16 kHz waveform in -1..1."""
    wave = np.asarray(samples, dtype=np.float32)
    return np.asarray(_batched([wave], frame_count(len(wave)))[0].numpy())


def normalise(features: Tensor) -> Tensor:
    """Return (x - mean) / (2 std), for padding too, as the published front end does."""
    return torch.as_tensor(_FRONT_END.normalise(features))
