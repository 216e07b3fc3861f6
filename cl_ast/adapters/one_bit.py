"""1-bit weights as files hold them: signs, eight a byte, and one magnitude."""

import math

import numpy as np
import torch
from torch import Tensor


def binary(weight: Tensor) -> Tensor:
    """a · sign(W) for each matrix (..., out, in), with a = mean|W| in bfloat16; zero counts as positive.

    mean|W| is the a nearest to W in the least squares. It is rounded so that what is quantised already stays the same
    to the bit: the mean of equal numbers, summed in single precision, may miss its last digits.
    """
    magnitude = weight.abs().mean(dim=(-2, -1), keepdim=True).bfloat16().to(weight.dtype)
    return torch.where(weight >= 0, magnitude, -magnitude)


def packed(weight: Tensor) -> Tensor:
    """A matrix of any shape to bytes: a, as a float32, and the signs. Only binary(weight) is kept."""
    values = binary(weight.detach().cpu().float()).flatten()
    positive = torch.zeros(-(-len(values) // 8) * 8, dtype=torch.uint8)
    positive[: len(values)] = values >= 0
    signs = (positive.view(-1, 8) << torch.arange(8, dtype=torch.uint8)).sum(dim=1, dtype=torch.uint8)
    return torch.cat([values[:1].abs().view(torch.uint8), signs])


def unpacked(data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Bytes as `packed` made them to a · sign(W)."""
    magnitude = data[:4].clone().view(torch.float32)
    bits = torch.from_numpy(np.unpackbits(data[4:].numpy(), count=math.prod(shape), bitorder="little"))
    return (bits.float() * 2 - 1).view(shape) * magnitude
