"""Keeps the weights of linear maps in 8 bits, with a scale for each output: a fourth of the memory."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PREFIX = "int8:"
"""How the fingerprint of a backbone begins whose linear maps are in 8 bits."""

PRECISIONS = ("fp32", "int8")
"""What the weights of a backbone may be kept in."""

_STEPS = 127


class Int8Linear(nn.Module):
    """A frozen linear map y = x Wᵀ + b with W = s ∘ Q: Q in whole numbers of 8 bits, s a number for each output.

    Symmetric per-channel quantisation: s = max|w| / 127 over the row w of an output, and Q is W / s, rounded. A pass
    makes W of Q and s for one map at a time, and so does the backward pass, which keeps no W meanwhile.
    """

    def __init__(self, stock: Any) -> None:
        """
        Args:
            stock: a torch.nn.Linear.
        """
        super().__init__()
        weight = stock.weight.detach()
        scale = weight.abs().amax(dim=1) / _STEPS
        steps = weight / torch.where(scale > 0, scale, 1).unsqueeze(1)
        self.steps: Tensor
        self.scale: Tensor
        self.register_buffer("steps", steps.round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias: nn.Parameter | None = stock.bias

    @property
    def weight(self) -> Tensor:
        """W (out, in), made of Q and s each time."""
        return self.steps * self.scale.unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = _Linear.apply(x, self.steps, self.scale, self.bias)  # type: ignore[no-untyped-call]
        return found


class _Linear(torch.autograd.Function):
    """F.linear with W = s ∘ Q, which has a gradient for its input only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(steps, scale)
        return F.linear(x, steps * scale.unsqueeze(1), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        steps, scale = ctx.saved_tensors
        return gradients[0] @ (steps * scale.unsqueeze(1)), None, None, None


def precision_of(fingerprint: str) -> str:
    """Return what the weights of a backbone with this fingerprint are kept in, one of `PRECISIONS`."""
    return "int8" if fingerprint.startswith(PREFIX) else "fp32"
