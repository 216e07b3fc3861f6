"""Optimises the weights of a pretraining: two optimisers, gradients of several processes, a running average."""

import torch
from torch import distributed
from torch.optim.swa_utils import get_ema_multi_avg_fn

from cl_ast.pretrain.model import Pretraining
from cl_ast.pretrain.options import Options


def optimisers(model: Pretraining, options: Options) -> list[torch.optim.Optimizer]:
    """Return Muon (Jordan et al., 2024) for the matrices of the layers, and AdamW for all other parameters.

    After 220 steps of 80 clips the loss of the sound families was 2.0 with both, and 2.7 with AdamW alone
    (docs/ast-mini.md).
    """
    matrices = [p for p in model.backbone.stock.layers.parameters() if p.ndim == 2]
    with_muon = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in with_muon]
    return [
        torch.optim.Muon(
            matrices, lr=options.learning_rate, weight_decay=options.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(
            [
                {"params": [p for p in rest if p.ndim >= 2], "weight_decay": options.weight_decay},
                {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=options.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=matrices[0].is_cuda,
        ),
    ]  # fmt: skip


def average_gradients(model: Pretraining, workers: int) -> None:
    """Average the gradients over the workers, in one message."""
    if workers == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    distributed.all_reduce(flat)
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient) / workers)


@torch.no_grad()
def update_average(average: Pretraining, model: Pretraining, decay: float) -> None:
    """Move the averaged weights towards the model's, and copy its buffers."""
    lerp = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    lerp(list(average.parameters()), list(model.parameters()), None)
    for copied, buffer in zip(average.buffers(), model.buffers(), strict=True):
        copied.copy_(buffer)
