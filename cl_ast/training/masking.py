"""SpecAugment's masks over a batch of log-mel features."""

from torch import Tensor


def masked(features: Tensor, frequency_mask: int, time_mask: int, fill: float) -> Tensor:
    """Mask one band of bins and one of frames in each clip, other ones each time (SpecAugment, Park et al. 2019).

    Args:
        features: (batch, frames, bins).
        frequency_mask, time_mask: the widest masks, in bins and in frames; 0 for none.
        fill: the value that masked bins get.
    """
    if not (frequency_mask or time_mask):
        return features
    from torchaudio.functional import mask_along_axis_iid

    out = features.unsqueeze(1)  # (batch, 1, frames, bins)
    for width, axis in ((frequency_mask, 3), (time_mask, 2)):
        if width:
            out = mask_along_axis_iid(out, min(width, out.shape[axis]), fill, axis)
    return out.squeeze(1)
