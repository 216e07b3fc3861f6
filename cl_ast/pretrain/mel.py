"""The backbone's front end behind one name: log-mel of one waveform, not yet normalised."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cl_ast.audio.log_mel import BINS, SHIFT, WINDOW, LogMelFrontEnd, frame_count
from cl_ast.audio.log_mel import log_mel as _batched

__all__ = ["BINS", "PADDING", "log_mel", "normalise", "samples_for"]

_FRONT_END = LogMelFrontEnd(frames=100)  # for its normalisation, which knows no length
PADDING = _FRONT_END.padding


def samples_for(frames: int) -> int:
    """The samples that make exactly this many frames."""
    return WINDOW + SHIFT * (frames - 1)


def log_mel(samples: NDArray[np.float64] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel energies (frames, 128) of all of a 16 kHz waveform in -1..1."""
    wave = np.asarray(samples, dtype=np.float32)
    return np.asarray(_batched([wave], frame_count(len(wave)))[0].numpy())


def normalise(features: Tensor) -> Tensor:
    """(x - mean) / (2 std), padding included, as the published front end does."""
    return torch.as_tensor(_FRONT_END.normalise(features))
