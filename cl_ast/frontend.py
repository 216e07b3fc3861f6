"""Waveforms to the trunk's input: Kaldi log-mel frames, batched, on the device the waveforms are on.

Equal to `transformers.ASTFeatureExtractor` with torchaudio (128 bins, 25 ms Hann window, 10 ms shift, no dither,
DC offset removed, pre-emphasis 0.97, HTK mel scale from 20 Hz), with its padding and its normalisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from cl_ast.audio import SAMPLE_RATE, Waveform
from cl_ast.errors import AudioError

BINS = 128
WINDOW = 400  # samples, 25 ms
SHIFT = 160  # samples, 10 ms
FRAMES_PER_SECOND = SAMPLE_RATE // SHIFT
MIN_FRAMES = 16  # one patch of the trunk
MAX_FRAMES = 3_000
_FFT = 512
_PREEMPHASIS = 0.97
_LOWEST = 20.0  # Hz
_FLOOR = torch.finfo(torch.float32).eps
# Frames worked on at once: larger blocks spend their time in page faults (docs/performance.md).
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What a task does to a clip before the trunk sees it; stored with the task.

    Attributes:
        frames: every clip is cut or zero-padded to this many 10 ms frames.
        mean, std: features become (x - mean) / (2 std), padding included; AudioSet's by default.
    """

    frames: int
    mean: float = -4.2677393
    std: float = 4.5689974

    def __post_init__(self) -> None:
        if not MIN_FRAMES <= self.frames <= MAX_FRAMES:
            raise AudioError(
                f"a clip of {self.frames} frames of 10 ms cannot be used; choose {MIN_FRAMES} to {MAX_FRAMES}"
            )

    @classmethod
    def for_seconds(cls, seconds: float) -> "FrontEnd":
        """The front end that holds a clip of this length: 100 frames a second, as the papers count."""
        frames = round(seconds * FRAMES_PER_SECOND)
        return cls(min(MAX_FRAMES, max(MIN_FRAMES, frames)))

    def __call__(self, waveforms: Sequence[Waveform], device: torch.device | str = "cpu") -> Tensor:
        """Features of a batch: (batch, frames, 128), float32, on `device`."""
        return self.normalise(log_mel(waveforms, self.frames, device=device))

    def normalise(self, features: Tensor) -> Tensor:
        """(x - mean) / (2 std), as the published front end does."""
        return (features - self.mean) / (2 * self.std)

    @property
    def padding(self) -> float:
        """What a padded (or masked) bin holds after normalisation."""
        return -self.mean / (2 * self.std)


def frame_count(samples: int) -> int:
    """Whole windows in a waveform; at least one, since shorter ones are zero-padded to a window."""
    return 1 + max(0, samples - WINDOW) // SHIFT


def log_mel(waveforms: Sequence[Waveform], frames: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Log-mel energies of each waveform, cut or padded with zeros to `frames`, not normalised.

    Args:
        waveforms: 16 kHz mono arrays, of any lengths.
        frames: of 10 ms, for all of them.
        device: where the work is done and the result lies.

    Returns:
        (batch, frames, 128) float32.
    """
    lengths = [min(frames, frame_count(len(waveform))) for waveform in waveforms]
    longest = max(lengths, default=0)
    samples = WINDOW + SHIFT * (longest - 1)
    padded = np.zeros((len(waveforms), samples), dtype=np.float32)
    for row, waveform in zip(padded, waveforms, strict=True):
        used = min(samples, len(waveform))
        row[:used] = waveform[:used]
    batch = torch.from_numpy(padded).to(device)
    out = torch.zeros(len(waveforms), frames, BINS, device=batch.device)
    if longest:
        out[:, :longest] = _energies(batch.unfold(1, WINDOW, SHIFT))
        for row, length in zip(out, lengths, strict=True):
            row[length:] = 0
    return out


def _energies(windows: Tensor) -> Tensor:
    """(batch, frames, 400) windows to (batch, frames, 128) log energies, in blocks that stay in the cache."""
    batch, frames, _ = windows.shape
    out = torch.empty(batch, frames, BINS, device=windows.device)
    rows = max(1, _BLOCK // frames)
    columns = min(frames, _BLOCK)
    for row in range(0, batch, rows):
        for column in range(0, frames, columns):
            block = windows[row : row + rows, column : column + columns]
            out[row : row + rows, column : column + columns] = _block_energies(block)
    return out


def _block_energies(windows: Tensor) -> Tensor:
    window, bank = _constants(windows.device)
    centred = windows - windows.mean(dim=-1, keepdim=True)
    # Kaldi emphasises within a window: the first sample is its own predecessor.
    previous = torch.cat([centred[..., :1], centred[..., :-1]], dim=-1)
    shaped = (centred - _PREEMPHASIS * previous) * window
    power = torch.fft.rfft(shaped, n=_FFT).abs().square()
    energies: Tensor = (power @ bank).clamp_min(_FLOOR).log()
    return energies


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """The window (400,) and the mel bank (257, 128) on a device."""
    window = torch.hann_window(WINDOW, periodic=False)
    return window.to(device), mel_bank().to(device)


def mel_bank() -> Tensor:
    """Kaldi's triangular mel filters: (257, 128), from 20 Hz to half the sample rate; the Nyquist bin is unused."""
    edges = torch.linspace(_mel(_LOWEST), _mel(SAMPLE_RATE / 2), BINS + 2, dtype=torch.float64)
    frequencies = torch.arange(_FFT // 2, dtype=torch.float64) * SAMPLE_RATE / _FFT
    mels = 1127.0 * torch.log1p(frequencies / 700.0)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (mels[:, None] - left) / (centre - left)
    falling = (right - mels[:, None]) / (right - centre)
    bank = torch.minimum(rising, falling).clamp_min(0)
    return torch.cat([bank, bank.new_zeros(1, BINS)]).float()


def _mel(hertz: float) -> float:
    return 1127.0 * float(np.log1p(hertz / 700.0))
