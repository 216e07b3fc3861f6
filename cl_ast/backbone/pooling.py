"""Pools the backbone's output tokens to one vector for each clip."""

from collections.abc import Sequence

import torch
from torch import Tensor

POOLINGS: Sequence[str] = ("mean", "mean+std")


def pooled(tokens: Tensor, pooling: str) -> Tensor:
    """Pool tokens (batch, n, width) to one vector for each clip.

    "mean" gives (batch, width), and "mean+std", which appends the standard deviation, (batch, 2 width). The mean is
    taken over all output tokens, special tokens and patches alike: the "ALL" pooling of the PETL paper.
    """
    mean = tokens.mean(dim=1)
    if pooling == "mean":
        return mean
    return torch.cat([mean, deviation((tokens - mean[:, None]).square().mean(dim=1))], dim=-1)


def deviation(variance: Tensor) -> Tensor:
    """Return the standard deviation of a variance; the clamp keeps its gradient finite at zero."""
    return variance.clamp_min(1e-12).sqrt()
