"""How well tags are ranked: mean average precision, and label-weighted label-ranking average precision (lwlrap).

Both take scores (clips, tags), of which only the order counts, and which tags are true (clips, tags). Scores that are
equal share the last of their ranks. A score of minus infinity is never found: it adds nothing to what is found, and its
tag, if it is true, still counts among those that should have been.
"""

import torch
from torch import Tensor


def average_precisions(scores: Tensor, truth: Tensor) -> Tensor:
    """Return the average precision of each tag over the clips (tags,); NaN for a tag that is true of no clip.

    It is Σ (Rₙ − Rₙ₋₁) Pₙ over the thresholds, without interpolation (scikit-learn, `average_precision_score`).
    """
    return _precision_of_found(scores, truth, dim=0).sum(dim=0) / truth.sum(dim=0)


def mean_average_precision(scores: Tensor, truth: Tensor) -> float:
    """Return mAP, the mean of the average precisions of the tags that are true of some clip; 0 where none is."""
    known = average_precisions(scores, truth)[truth.sum(dim=0) > 0]
    return float(known.mean()) if len(known) else 0.0


def lwlrap(scores: Tensor, truth: Tensor) -> float:
    """Return the mean, over all true tags of all clips, of the precision at the tag's rank among its clip's tags.

    It weights the label-ranking average precision of each clip with the number of its tags (DCASE 2019, task 2). It is
    0 where no tag is true.
    """
    found = _precision_of_found(scores, truth, dim=1)
    return float(found.sum() / truth.sum().clamp_min(1))


def _precision_of_found(scores: Tensor, truth: Tensor, dim: int) -> Tensor:
    """Return the precision at each true entry, 0 at all others, with the entries sorted along a dimension."""
    ranked, order = scores.double().sort(dim=dim, descending=True)
    true = truth.double().gather(dim, order)
    count = scores.shape[dim]
    places = torch.arange(count, device=scores.device)
    places = (places[:, None] if dim == 0 else places[None]).expand_as(ranked)
    # The last place of those with an equal score: the nearest one below at which the score changes.
    changes = ranked.narrow(dim, 0, count - 1) != ranked.narrow(dim, 1, count - 1)
    changes = torch.cat([changes, torch.ones_like(ranked.narrow(dim, 0, 1), dtype=torch.bool)], dim=dim)
    last = places.masked_fill(~changes, count).flip(dim).cummin(dim=dim).values.flip(dim)
    precision = true.cumsum(dim=dim).gather(dim, last) / (last + 1)
    return precision * true * torch.isfinite(ranked)
