"""Renders a sound of any family of procedural sounds."""

from numpy.random import Generator

from cl_ast.pretrain import animals, impacts, motors, textures, tones
from cl_ast.pretrain.dsp import Signal, band, loguniform, normalise, reverberate, shape, uniform

FAMILIES = {
    **impacts.FAMILIES, **textures.FAMILIES, **motors.FAMILIES, **tones.FAMILIES, **animals.FAMILIES,
}  # fmt: skip
NAMES = tuple(FAMILIES)


def render(rng: Generator, family: str, n: int) -> Signal:
    """Render one clip of `n` samples at 16 kHz: a sound of the family, sometimes in a room or through a channel.

    Mixtures, levels, background noise and further channels are added each time the clip is used (see `augment`).
    """
    x = FAMILIES[family](rng, n)
    if rng.random() < 0.3:
        x = reverberate(rng, x, loguniform(rng, 0.1, 1.5), uniform(rng, 0.1, 0.9))
    if rng.random() < 0.15:
        x = shape(x, band(loguniform(rng, 400, 3000), uniform(rng, 3, 6), 8.0))
    return normalise(x)
