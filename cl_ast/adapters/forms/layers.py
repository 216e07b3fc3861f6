"""Layers whose weights are one set for the whole batch, or one for each row (with a leading batch dimension)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms.base import Params
from cl_ast.adapters.forms.process_sums import several_processes, sum_over_processes


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply weight (out, in) or (batch, out, in) to x (batch, tokens, in)."""
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    if bias is None:
        return torch.bmm(x, weight.mT)
    return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


def vector(value: Tensor) -> Tensor:
    """Reshape a vector (width,) or (batch, width) so that it broadcasts over (batch, tokens, width)."""
    return value if value.dim() == 1 else value.unsqueeze(1)


def rows(value: Tensor, batch: int) -> Tensor:
    """Return (batch, n, width) from one (n, width) for the batch, or from (batch, n, width) as it is."""
    return value if value.dim() == 3 else value.expand(batch, -1, -1)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalise over the width (LayerNorm), with weight (width,) or (batch, width)."""
    if weight.dim() == 1:
        return F.layer_norm(x, weight.shape, weight, bias, eps)
    return torch.addcmul(bias.unsqueeze(1), F.layer_norm(x, x.shape[-1:], eps=eps), weight.unsqueeze(1))


def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve each channel over the tokens with its own kernel, to the same length: weight (r, k) or (batch, r, k)."""
    batch, tokens, channels = x.shape
    padded = _padded(x, weight.shape[-1])
    if weight.dim() == 2:
        return F.conv1d(padded, weight.unsqueeze(1), bias, groups=channels).mT
    groups = batch * channels
    out = F.conv1d(padded.reshape(1, groups, -1), weight.reshape(groups, 1, -1), bias.flatten(), groups=groups)
    return out.view(batch, channels, tokens).mT


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve over the tokens, to the same length: weight (out, in, k) or (batch, out, in, k)."""
    batch, tokens, _ = x.shape
    padded = _padded(x, weight.shape[-1])
    if weight.dim() == 3:
        return F.conv1d(padded, weight, bias).mT
    out = F.conv1d(padded.reshape(1, -1, padded.shape[-1]), weight.flatten(0, 1), bias.flatten(), groups=batch)
    return out.view(batch, -1, tokens).mT


def batch_norm(x: Tensor, p: Params, *, training: bool) -> Tensor:
    """Normalise over batch and tokens (BatchNorm); training updates the running statistics in place.

    Its own tensors are in single precision, whatever the type of x is.
    """
    mean, var = p["batchnorm.mean"], p["batchnorm.var"]
    weight, bias = p["batchnorm.weight"], p["batchnorm.bias"]
    if mean.dim() == 1:
        if training and several_processes():
            return _shared_batch_norm(x, mean, var, weight, bias)
        return F.batch_norm(x.mT, mean, var, weight, bias, training).mT
    scale = weight * (var + 1e-5).rsqrt()
    shift = bias - mean * scale
    return torch.addcmul(shift.unsqueeze(1).to(x.dtype), x, scale.unsqueeze(1).to(x.dtype))


def _shared_batch_norm(x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise as in training, with the statistics of the rows of all processes that train together.

    Each process has a share of the batch; the result is that of one process with the whole batch.
    """
    values = x.float()
    count = sum_over_processes(values.new_tensor(float(values.shape[0] * values.shape[1])))
    centre = sum_over_processes(values.sum(dim=(0, 1))) / count
    variance = sum_over_processes((values - centre).square().sum(dim=(0, 1))) / count
    with torch.no_grad():
        mean.lerp_(centre, 0.1)
        var.lerp_(variance * count / (count - 1), 0.1)
    return ((values - centre) * (variance + 1e-5).rsqrt() * weight + bias).to(x.dtype)


def _padded(x: Tensor, kernel: int) -> Tensor:
    """Pad (batch, tokens, channels) with zeros to (batch, channels, tokens + kernel - 1)."""
    left = (kernel - 1) // 2
    return F.pad(x.mT, (left, kernel - 1 - left))
