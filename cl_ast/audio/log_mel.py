"""Computes Kaldi's log-mel frames of a batch of waveforms, on any device.

The result equals that of `transformers.ASTFeatureExtractor` with torchaudio, including its padding and normalisation:
128 bins, 25 ms Hann window, 10 ms shift, no dither, DC offset removed, pre-emphasis 0.97, HTK mel scale from 20 Hz.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.errors import AudioError

BINS = 128
WINDOW = 400  # samples, 25 ms
SHIFT = 160  # samples, 10 ms
FRAMES_PER_SECOND = SAMPLE_RATE // SHIFT
MIN_FRAMES = 16  # one patch of the backbone
MAX_FRAMES = 3_000
_FFT = 512
_PREEMPHASIS = 0.97
_LOWEST = 20.0  # Hz
_FLOOR = torch.finfo(torch.float32).eps
# How many frames are computed at once: larger blocks on a CPU spend their time in page faults
# (docs/performance-measured.md).
_BLOCK = 256
_LARGE_BLOCK = 2**16


@dataclass(frozen=True, slots=True)
class LogMelFrontEnd:
    """Turns clips into the log-mel features that AST takes; a task stores it with its weights.

    Attributes:
        spectrogram: whether the features are a spectrogram, which can be masked for augmentation.
        frames: every clip is cut or zero-padded to this many 10 ms frames.
        mean, std: features become (x - mean) / (2 std), padding included; the default values are AudioSet's.
    """

    spectrogram: ClassVar[bool] = True
    frames: int
    mean: float = -4.2677393
    std: float = 4.5689974

    def __post_init__(self) -> None:
        if not MIN_FRAMES <= self.frames <= MAX_FRAMES:
            raise AudioError(
                f"a clip of {self.frames} frames of 10 ms cannot be used; choose {MIN_FRAMES} to {MAX_FRAMES}"
            )

    @classmethod
    def for_seconds(cls, seconds: float) -> "LogMelFrontEnd":
        """Return the front end for clips of this length: 100 frames a second, as the papers count them."""
        frames = round(seconds * FRAMES_PER_SECOND)
        return cls(min(MAX_FRAMES, max(MIN_FRAMES, frames)))

    @property
    def seconds(self) -> float:
        """How much of a clip it takes, in seconds."""
        return self.frames / FRAMES_PER_SECOND

    def __call__(self, waveforms: Sequence[Waveform], device: torch.device | str = "cpu") -> Tensor:
        """Return the features of a batch: (batch, frames, 128), float32, on `device`."""
        return log_mel(waveforms, self.frames, device=device).sub_(self.mean).div_(2 * self.std)

    def normalise(self, features: Tensor) -> Tensor:
        """Return (x - mean) / (2 std), as the published front end does."""
        return (features - self.mean) / (2 * self.std)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one clip's features."""
        return (self.frames, BINS)

    @property
    def padding(self) -> float:
        """The value of a padded (or masked) bin after normalisation."""
        return -self.mean / (2 * self.std)


def frame_count(samples: int) -> int:
    """Return how many whole windows a waveform has; at least one, since a shorter waveform is zero-padded."""
    return 1 + max(0, samples - WINDOW) // SHIFT


def log_mel(waveforms: Sequence[Waveform], frames: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Return the log-mel energies of each waveform, cut or padded with zeros to `frames`, not normalised.

    Args:
        waveforms: 16 kHz mono arrays, of any lengths.
        frames: the number of 10 ms frames of each result.
        device: the device of the computation and of the result.

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
        _energies(batch.unfold(1, WINDOW, SHIFT), out[:, :longest])
        if min(lengths) < longest:  # one operation for all clips, since each waits for a GPU to start it
            beyond = torch.arange(longest) >= torch.tensor(lengths)[:, None]
            out[:, :longest].masked_fill_(beyond[..., None].to(batch.device), 0)
    return out


def _energies(windows: Tensor, out: Tensor) -> None:
    """Write the log energies (batch, frames, 128) of windows (batch, frames, 400) to `out`, in blocks.

    The blocks are small enough for the CPU's cache.
    """
    batch, frames, _ = windows.shape
    size = _BLOCK if windows.device.type == "cpu" else _LARGE_BLOCK
    rows, columns = max(1, size // frames), min(frames, size)
    scratch = _Scratch(min(rows, batch) * columns, windows.device)
    for row in range(0, batch, rows):
        for column in range(0, frames, columns):
            where = slice(row, row + rows), slice(column, column + columns)
            scratch.energies(windows[where], out[where])


class _Scratch:
    """The buffers for the computation of one block.

    They are reused for the next block, since allocating memory takes longer than the arithmetic.
    """

    def __init__(self, most: int, device: torch.device) -> None:
        self._window, self._mel_bank = _constants(device)
        self._centred = torch.empty(most, WINDOW, device=device)
        self._shaped = torch.zeros(most, _FFT, device=device)
        self._spectrum = torch.empty(most, _FFT // 2 + 1, dtype=torch.complex64, device=device)
        self._power = torch.empty(most, _FFT // 2 + 1, device=device)
        self._mel = torch.empty(most, BINS, device=device)

    def energies(self, windows: Tensor, out: Tensor) -> None:
        """Write the log energies (rows, columns, 128) of windows (rows, columns, 400) to `out`.

        The operations come in Kaldi's order, so that rounding errors are the same.
        """
        rows, columns, _ = windows.shape
        count = rows * columns
        centred, shaped = self._centred[:count], self._shaped[:count]
        torch.sub(windows, windows.mean(dim=-1, keepdim=True), out=centred.view(rows, columns, WINDOW))
        emphasised = shaped[:, :WINDOW]
        # Kaldi's pre-emphasis stays within a window: the first sample counts as its own predecessor.
        torch.mul(centred[:, :-1], _PREEMPHASIS, out=emphasised[:, 1:])
        torch.mul(centred[:, :1], _PREEMPHASIS, out=emphasised[:, :1])
        torch.sub(centred, emphasised, out=emphasised).mul_(self._window)
        spectrum = torch.fft.rfft(shaped, out=self._spectrum[:count])
        real, imaginary = torch.view_as_real(spectrum).unbind(dim=-1)
        # Not abs().square(), since the square root alone would take as long as the transform.
        power = torch.mul(real, real, out=self._power[:count]).addcmul_(imaginary, imaginary)
        mel = torch.mm(power, self._mel_bank, out=self._mel[:count]).clamp_min_(_FLOOR)
        torch.log(mel.view(rows, columns, BINS), out=out)


def exportable_energies(windows: Tensor) -> Tensor:
    """Return the log energies (..., 128) of windows (..., 400), as `log_mel` computes them.

    The operations are those of `_Scratch`, but without its buffers, which an exported graph cannot have.
    """
    window, bank = _constants(windows.device)
    centred = windows - windows.mean(dim=-1, keepdim=True)
    before = torch.cat([centred[..., :1], centred[..., :-1]], dim=-1)
    spectrum = torch.fft.rfft(F.pad((centred - _PREEMPHASIS * before) * window, (0, _FFT - WINDOW)))
    found: Tensor = ((spectrum.real.square() + spectrum.imag.square()) @ bank).clamp_min(_FLOOR).log()
    return found


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the window (400,) and the mel bank (257, 128) on a device."""
    window = torch.hann_window(WINDOW, periodic=False)
    return window.to(device), mel_bank().to(device)


def mel_bank() -> Tensor:
    """Return Kaldi's triangular mel filters (257, 128) from 20 Hz to half the sample rate, without the Nyquist bin."""
    edges = torch.linspace(_mel(_LOWEST), _mel(SAMPLE_RATE / 2), BINS + 2, dtype=torch.float64)
    frequencies = torch.arange(_FFT // 2, dtype=torch.float64) * SAMPLE_RATE / _FFT
    mels = 1127.0 * torch.log1p(frequencies / 700.0)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (mels[:, None] - left) / (centre - left)
    falling = (right - mels[:, None]) / (right - centre)
    filters = torch.minimum(rising, falling).clamp_min(0)
    return torch.cat([filters, filters.new_zeros(1, BINS)]).float()


def _mel(hertz: float) -> float:
    return 1127.0 * float(np.log1p(hertz / 700.0))
