"""Packs 1-bit weights for files: the signs, eight to a byte, and one magnitude."""

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
    positive = torch.zeros(-(-len(values) // 8) * 8, dtype=torch.uint8)
    positive[: len(values)] = values >= 0
    signs = (positive.view(-1, 8) << torch.arange(8, dtype=torch.uint8)).sum(dim=1, dtype=torch.uint8)
    return torch.cat([values[:1].abs().view(torch.uint8), signs])


def unpacked(data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the matrix a · sign(W) that `packed` turned into these bytes."""
    magnitude = data[:4].clone().view(torch.float32)
    bits = torch.from_numpy(np.unpackbits(data[4:].numpy(), count=math.prod(shape), bitorder="little"))
    return (bits.float() * 2 - 1).view(shape) * magnitude
