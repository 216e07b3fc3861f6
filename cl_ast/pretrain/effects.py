"""Changes clips as rooms, microphones and noise do. All of it acts on the power of mel bands, on any device."""

import math

import numpy as np
import torch
from torch import Tensor

from cl_ast.audio.log_mel import FRAMES_PER_SECOND
from cl_ast.pretrain import mel
from cl_ast.pretrain.draws import Draws

_DECAY = math.log(1e6) / FRAMES_PER_SECOND  # per frame, of power that falls by 60 dB in a second


def noise_floor() -> Tensor:
    """Return the mel power of white noise (frames, 128), the same one every time."""
    noise = np.random.default_rng(0).standard_normal(mel.samples_for(4096)) * 0.1
    return torch.as_tensor(mel.log_mel(noise)).exp()


def from_decibels(decibels: Tensor) -> Tensor:
    """Return the power of decibels."""
    return (decibels * (math.log(10) / 10)).exp()


def mean_level(power: Tensor) -> Tensor:
    """Return the mean power of each clip (batch,) over its frames that are not silent."""
    frames = power.mean(2)
    return frames.sum(1) / (frames > 0).sum(1).clamp_min(1) + 1e-9


def add_rooms(draws: Draws, power: Tensor, hard: float) -> None:
    """Add reverberation to some clips: power that decays by 60 dB in the room's reverberation time."""
    rows = draws.some(0.15 + 0.2 * hard, len(power))
    if not len(rows):
        return
    time = torch.arange(power.shape[1], device=power.device)
    lag = time[:, None] - time[None]
    decay = draws.uniform(math.log(0.12), math.log(1.2), len(rows)).neg_().exp_() * -_DECAY
    wet = draws.uniform(0.01, 0.15, len(rows))
    smear = (decay[:, None, None] * lag.clamp_min(0)).exp_().mul_(wet[:, None, None] * (lag > 0))
    power.index_add_(0, rows, torch.bmm(smear, power[rows]))


def channels(draws: Draws, size: int, hard: float) -> Tensor:
    """Return a smooth random frequency response as power (batch, 1, 128), sometimes with band limits."""
    bins = torch.arange(mel.BINS, device=draws.device)[None]
    x = bins * (2 / (mel.BINS - 1)) - 1
    response = draws.normal(size, 1) * (3 + 2 * hard) * x
    for k in (1, 2, 3, 5):
        phase = draws.uniform(0, 6, size, 1)
        response += draws.normal(size, 1) * (2 / k**0.5) * torch.cos(math.pi * k * x + phase)
    cut = torch.where(draws.chance(0.25, size, 1), draws.uniform(75, 126, size, 1), float(mel.BINS))
    steep = (bins - cut).clamp_min_(0) * draws.uniform(2, 10, size, 1)
    response -= torch.minimum(steep, draws.uniform(20, 70, size, 1))
    low = torch.where(draws.chance(0.15, size, 1), draws.uniform(4, 25, size, 1), 0.0)
    response -= ((low - bins) * 1.5).clamp_(0, 30)
    return from_decibels(response)[:, None]


def add_noise(draws: Draws, power: Tensor, floor: Tensor) -> None:
    """Add background noise of a random colour, 18 to 75 dB below the clip. `floor` is `noise_floor`."""
    size, frames, bins = power.shape
    start = draws.integers(0, len(floor) - frames, size)
    hiss = floor[start[:, None] + torch.arange(frames, device=power.device)]
    slope = draws.uniform(-25, 5, size, 1) * (torch.arange(bins, device=power.device) / (bins - 1))
    hiss *= from_decibels(slope)[:, None]
    level = from_decibels(draws.uniform(-75, -18, size)) * mean_level(power) / mean_level(hiss)
    power.addcmul_(hiss, level[:, None, None])


def gains(draws: Draws, size: int) -> Tensor:
    """Return the level of each recording as power (batch, 1, 1)."""
    usual, any_level = draws.normal(size).mul_(6).sub_(4), draws.uniform(-38, 10, size)
    return from_decibels(torch.where(draws.chance(0.5, size), usual, any_level))[:, None, None]


def masks(draws: Draws, size: int, frames: int) -> tuple[Tensor, Tensor]:
    """Return which frames (batch, frames) and bands (batch, 128) to mask: a stretch of each in some clips."""
    chosen = draws.chance(0.25, size, 1)
    wide, high = draws.integers(2, max(3, frames // 8), size, 1), draws.integers(4, 20, size, 1)
    when, at = draws.integers(0, frames, size, 1), draws.integers(0, mel.BINS - 20, size, 1)
    time, bins = torch.arange(frames, device=draws.device), torch.arange(mel.BINS, device=draws.device)
    in_time = chosen & (time >= when) & (time < when + wide)
    in_band = chosen & (bins >= at) & (bins < at + high)
    return in_time, in_band
