"""Computes the loss of each target, and their weighted sum."""

from torch import Tensor
from torch.nn import functional as F

from cl_ast.pretrain.augment import Batch

# The weights bring the terms to about the same size once training is under way.
WEIGHTS = {
    "family": 1.0, "word": 1.0, "language": 0.3, "voice": 0.3, "mood": 0.3, "prosody": 0.5, "phonemes": 30.0,
    "pitch": 1.0, "descriptors": 0.5,
}  # fmt: skip


def losses(out: dict[str, Tensor], batch: Batch, descriptors: Tensor) -> dict[str, Tensor]:
    """Return the unweighted loss of each target. Clips whose label is -1 are left out.

    Args:
        out: the predictions of `Pretraining`.
        batch: the batch that they were made for.
        descriptors: the standardised descriptors of the batch (batch, 108).
    """
    terms = {"family": F.cross_entropy(out["family"], batch.family)}
    for name in ("word", "language", "voice", "mood"):
        label = batch.labels[name]
        count = (label >= 0).sum().clamp_min(1)
        terms[name] = F.cross_entropy(out[name], label, ignore_index=-1, reduction="sum") / count
    spoken = (batch.labels["mood"] >= 0).float()
    error = (out["prosody"] - batch.prosody).square().mean(1)
    terms["prosody"] = (error * spoken).sum() / spoken.sum().clamp_min(1)
    terms["phonemes"] = _phonemes(out["phonemes"], batch.phonemes, spoken)
    pitch, voiced = batch.pitch[..., 0], batch.pitch[..., 1]
    track = ((out["pitch"][..., 0] - pitch).square() * voiced).sum() / voiced.sum().clamp_min(1)
    share = (out["pitch"][..., 1] - voiced).square().mean()
    terms["pitch"] = 2 * track + share
    terms["descriptors"] = (out["descriptors"] - descriptors).square().mean()
    return terms


def _phonemes(logits: Tensor, wanted: Tensor, spoken: Tensor) -> Tensor:
    each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean((1, 2))
    # Sounds have no phonemes, which is learnt quickly, so they count a quarter.
    weight = 0.25 + 0.75 * spoken
    return (each * weight).sum() / weight.sum()


def total(terms: dict[str, Tensor]) -> Tensor:
    """Return the weighted sum of the terms."""
    first, *rest = (WEIGHTS[name] * term for name, term in terms.items())
    for term in rest:
        first = first + term
    return first
