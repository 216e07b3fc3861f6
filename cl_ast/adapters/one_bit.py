"""Packs 1-bit weights for files: the signs, eight to a byte, and one or two numbers for their values."""

import math

import numpy as np
import torch
from torch import Tensor


def binary(weight: Tensor) -> Tensor:
    """Return a · sign(W) for each matrix (..., out, in), with a = mean|W| in bfloat16; zero counts as positive.

    mean|W| is the best a in the sense of least squares. It is rounded to bfloat16 so that quantising a second time
    changes no bit: a mean of equal numbers, summed in single precision, can be wrong in its last digits.
    """
    magnitude = weight.abs().mean(dim=(-2, -1), keepdim=True).bfloat16().to(weight.dtype)
    return torch.where(weight >= 0, magnitude, -magnitude)


def packed(weight: Tensor) -> Tensor:
    """Return binary(weight) as bytes: the magnitude a as a float32, then the signs."""
    values = binary(weight.detach().cpu().float()).flatten()
    return torch.cat([values[:1].abs().view(torch.uint8), _bits(values >= 0)])


def unpacked(data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the matrix a · sign(W) that `packed` turned into these bytes."""
    magnitude = data[:4].clone().view(torch.float32)
    return (_positive(data[4:], shape).float() * 2 - 1) * magnitude


# Weights that are centred and scaled, as in the public code

# The median of one half of a standard normal distribution: the two values that the public code's search settles at.
_LEVEL = 0.6744897501960817
_GRID = 2**12


def centred(weight: Tensor) -> Tensor:
    """Return m ± 0.674 · s for each matrix (..., out, in), with its mean m and deviation s; a weight of m counts as +.

    Both are rounded as in `_moments`, so that quantising what `unpacked_centred` returns changes no bit.
    """
    mean, deviation = _moments(weight)
    step = _LEVEL * deviation
    return torch.where(weight >= mean, mean + step, mean - step)


def packed_centred(weight: Tensor) -> Tensor:
    """Return centred(weight) as bytes: mean and deviation as float32, then the signs."""
    plain = weight.detach().cpu().float()
    mean, deviation = _moments(plain)
    numbers = torch.stack([mean.flatten()[0], deviation.flatten()[0]])
    return torch.cat([numbers.view(torch.uint8), _bits((plain >= mean).flatten())])


def unpacked_centred(data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a matrix of two values whose `centred` is that of the matrix that was packed into these bytes.

    The two values are those with the stored mean and deviation, given how many of the weights are above the mean.
    """
    mean, deviation = data[:8].clone().view(torch.float32).double().unbind()
    positive = _positive(data[8:], shape)
    count, above = positive.numel(), int(positive.sum())
    if above in (0, count):  # all weights are equal
        return mean.float().expand(shape).clone()
    step, share = deviation * math.sqrt((count - 1) / count), above / count
    high, low = mean + step * math.sqrt((1 - share) / share), mean - step * math.sqrt(share / (1 - share))
    values: Tensor = torch.where(positive, high, low)
    return values.float()


def _moments(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each matrix (..., out, in), as (..., 1, 1).

    The deviation is rounded to bfloat16 and the mean to a grid of 1/4096 of it: far coarser than the errors with which
    they are computed again, and far finer than matters.
    """
    exact = weight.double()
    deviation = exact.std(dim=(-2, -1), keepdim=True).bfloat16().double()
    mean = exact.mean(dim=(-2, -1), keepdim=True)
    grid = deviation / _GRID
    mean = torch.where(deviation > 0, (mean / grid).round() * grid, mean)
    return mean.to(weight.dtype), deviation.to(weight.dtype)


def _bits(positive: Tensor) -> Tensor:
    """Return flags (n,) as bytes, eight to a byte, the first in the lowest bit."""
    flags = torch.zeros(-(-len(positive) // 8) * 8, dtype=torch.uint8)
    flags[: len(positive)] = positive
    return (flags.view(-1, 8) << torch.arange(8, dtype=torch.uint8)).sum(dim=1, dtype=torch.uint8)


def _positive(data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo `_bits`: return flags in a shape."""
    flags = np.unpackbits(data.numpy(), count=math.prod(shape), bitorder="little")
    return torch.from_numpy(flags).view(shape).bool()
