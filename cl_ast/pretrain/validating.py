"""Measures a pretraining on clips that it is not trained on."""

import numpy as np
import torch

from cl_ast.pretrain.augment import Augmenter, Batch
from cl_ast.pretrain.cache import KINDS, Clips
from cl_ast.pretrain.draws import Draws
from cl_ast.pretrain.losses import losses
from cl_ast.pretrain.model import Pretraining, descriptors

_LENGTHS = (64, 96, 128, 128, 192, 256, 400)


def validation_batches(held_out: Clips, frames: int, stride: int, device: torch.device) -> list[Batch]:
    """Return the batches to validate on, each of that many frames in all.

    They are made on the CPU, so that they are the same clips for every seed and on every device.
    """
    augmenter = Augmenter(held_out, stride=stride)
    batches = (
        augmenter.batch(Draws("cpu", number), max(2, frames // length), length, 0.5)
        for number, length in enumerate(_LENGTHS)
    )
    return [batch.to(device) for batch in batches]


@torch.no_grad()
def validate(model: Pretraining, batches: list[Batch]) -> dict[str, float]:
    """Return accuracies (0 to 1) and losses, averaged over batches of clips that were never trained on."""
    model.eval()
    values: dict[str, list[float]] = {}
    for batch in batches:
        out = model(batch.features)
        terms = losses(out, batch, model.descriptor_norm(descriptors(batch.features)))
        for name in ("prosody", "phonemes", "pitch", "descriptors"):
            values.setdefault(name, []).append(float(terms[name]))
        unmixed = batch.family.max(1).values > 0.99
        right = out["family"].argmax(1) == batch.family.argmax(1)
        sounds = unmixed & (batch.labels["kind"] == KINDS.index("sound"))
        values.setdefault("family", []).append(float(right[sounds].float().mean()))
        for name in ("word", "language", "voice", "mood"):
            known = batch.labels[name] >= 0
            right = out[name].argmax(1) == batch.labels[name]
            values.setdefault(name, []).append(float(right[known].float().mean()))
    model.train()
    return {name: float(np.nanmean(each)) for name, each in values.items()}
