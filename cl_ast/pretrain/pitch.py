"""Computes the pitch of each frame by autocorrelation. It is a target for any sound, spoken or not."""

import numpy as np
from numpy.typing import NDArray

from cl_ast.pretrain.dsp import Signal

LOWEST, HIGHEST = 60.0, 600.0  # Hz
_RATE, _WINDOW, _HOP, _FFT = 8_000, 512, 160, 1_024
_VOICED = 0.5


def pitch_track(x: Signal, frames: int) -> NDArray[np.uint8]:
    """Return the pitch of each 10 ms frame (frames,) as a byte.

    0 means no pitch, and 1 to 255 cover 60 to 600 Hz in equal steps of log frequency.
    """
    half = (x[:-1:2] + x[1::2]) / 2
    half = np.pad(half, (_WINDOW // 2, _WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(half, _WINDOW)[::_HOP][: frames // 2 + 1]
    windows = windows * np.hanning(_WINDOW)
    spectrum = np.abs(np.fft.rfft(windows, _FFT)) ** 2
    correlation = np.fft.irfft(spectrum, _FFT)[:, :_WINDOW]
    energy = correlation[:, :1] + 1e-9
    short, long = int(_RATE / HIGHEST), int(_RATE / LOWEST)
    # The window's own autocorrelation falls with the lag. Dividing by it keeps low voices from being missed.
    fall = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_WINDOW), _FFT)) ** 2, _FFT)[:_WINDOW]
    ratio = (correlation / energy / (fall / fall[0]).clip(0.1))[:, short : long + 1]
    best = ratio.argmax(1)
    loud = energy[:, 0] > energy.max() * 10**-3.5
    voiced = (ratio[np.arange(len(ratio)), best] > _VOICED) & loud
    octaves = np.log2(_RATE / (best + short) / LOWEST) / np.log2(HIGHEST / LOWEST)
    code = np.where(voiced, 1 + np.round(254 * octaves.clip(0, 1)), 0).astype(np.uint8)
    return np.resize(np.repeat(code, 2), frames) if len(code) * 2 < frames else np.repeat(code, 2)[:frames]
