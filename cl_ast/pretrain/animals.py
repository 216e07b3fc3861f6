"""Synthesises calls of animals, and sounds of people that are not words."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator

from cl_ast.pretrain.dsp import (
    SR,
    Signal,
    band,
    decay,
    glide,
    loguniform,
    noise,
    partials,
    place,
    regular,
    resonances,
    rolloff,
    scattered,
    shape,
    swell,
    uniform,
    vowel,
    wander,
)  # fmt: skip


def call(
    rng: Generator, length: float, points: Sequence[float], rough: float, tract: float, breath: float = 0.1
) -> Signal:
    """Return one voiced call: a buzz along a pitch track through formants, with breath and random roughness.

    Args:
        rng: the random generator.
        length: seconds.
        points: pitches in Hz that the call glides through.
        rough: how irregular pitch and loudness are.
        tract: formants as a multiple of a man's.
        breath: the level of the breath noise.
    """
    n = max(64, int(length * SR))
    track = glide(n, points) * (1 + rough * 0.15 * wander(rng, n, 90, -1, 1))
    buzz = partials(track, rolloff(28, uniform(rng, 0.1, 0.8)))
    buzz *= 1 + rough * rng.standard_normal(n)
    air = noise(rng, n) * breath
    return shape(buzz + air * (buzz.std() + 1e-9) * 3, vowel(rng, tract)) * swell(n, uniform(rng, 0.1, 0.4))


def _repeat(rng: Generator, n: int, gap: tuple[float, float], make: Callable[[], Signal]) -> Signal:
    interval = uniform(rng, *gap)
    times = regular(rng, n, interval, 0.15)[: int(rng.integers(1, 12))]
    return place(n, [(t, make() * uniform(rng, 0.5, 1)) for t in times])


def bark(rng: Generator, n: int) -> Signal:
    """Return barks of small to large dogs: short rough bursts that rise and fall."""
    base, tract = loguniform(rng, 150, 900), loguniform(rng, 0.6, 1.8)
    rough = uniform(rng, 0.1, 1.2)

    def one() -> Signal:
        p = base * uniform(rng, 0.9, 1.1)
        return call(rng, uniform(rng, 0.07, 0.25), (p * 0.7, p * 1.3, p * 0.6), rough, tract, uniform(rng, 0, 0.6))

    return _repeat(rng, n, (0.2, 1.0), one)


def meow(rng: Generator, n: int) -> Signal:
    """Return meows of cats: long arched calls that open and close."""
    base = loguniform(rng, 350, 900)

    def one() -> Signal:
        points = (base * 0.9, base * uniform(rng, 1.1, 1.6), base * uniform(rng, 0.7, 1))
        return call(rng, uniform(rng, 0.4, 1.3), points, 0.1, uniform(rng, 1.4, 2.0), 0.05)

    return _repeat(rng, n, (0.8, 2.0), one)


def crow_call(rng: Generator, n: int) -> Signal:
    """Return harsh, flat, noisy calls, as of crows, geese, ducks and seagulls."""
    base, tract = loguniform(rng, 250, 900), uniform(rng, 1.2, 2.2)

    def one() -> Signal:
        return call(rng, uniform(rng, 0.12, 0.5), (base, base * 1.1, base * 0.8), 1.0, tract, 0.5)

    return _repeat(rng, n, (0.3, 0.9), one)


def rooster(rng: Generator, n: int) -> Signal:
    """Return a rooster's crow in four parts, of which the last is long and falls."""
    base = loguniform(rng, 400, 900)
    t, pieces = uniform(rng, 0, 0.5), []
    for length, rise in ((0.18, 1.1), (0.15, 1.3), (0.3, 1.5), (uniform(rng, 0.5, 1.0), 1.3)):
        points = (base * rise * 0.8, base * rise * 1.2, base * rise, base * rise * 0.7)
        pieces.append((t, call(rng, length, points, 0.35, uniform(rng, 1.3, 2), 0.15)))
        t += length * uniform(rng, 1, 1.3)
    return place(n, pieces)


def hen(rng: Generator, n: int) -> Signal:
    """Return clucks: short low notes, and sometimes a long one."""
    base = loguniform(rng, 300, 800)

    def one() -> Signal:
        return call(rng, loguniform(rng, 0.04, 0.35), (base, base * 1.2, base * 0.9), 0.4, 1.8, 0.3)

    return _repeat(rng, n, (0.12, 0.5), one)


def cattle(rng: Generator, n: int) -> Signal:
    """Return long low calls, steady (cows) or shaking (sheep and goats)."""
    cow = rng.random() < 0.5
    base = loguniform(rng, 90, 180) if cow else loguniform(rng, 200, 450)
    length = uniform(rng, 0.6, 1.8)
    one = call(rng, length, (base * 0.9, base * 1.1, base), 0.2, 0.7 if cow else 1.2, 0.1)
    if not cow:
        one *= 1 + 0.6 * np.sin(2 * np.pi * uniform(rng, 6, 14) * np.arange(len(one)) / SR)
    return place(n, [(t, one) for t in regular(rng, n, length + uniform(rng, 0.3, 1.5))])


def songbird(rng: Generator, n: int) -> Signal:
    """Return phrases of quick high glides."""
    base = loguniform(rng, 1500, 5000)
    syllables = [tuple(np.minimum(7500, base * rng.uniform(0.7, 1.6, 3))) for _ in range(int(rng.integers(1, 5)))]
    t, pieces = uniform(rng, 0, 0.4), []
    while t < n / SR:
        points = syllables[int(rng.integers(len(syllables)))]
        size = int(loguniform(rng, 0.03, 0.2) * SR)
        for _ in range(int(rng.integers(1, 7))):
            pieces.append((t, partials(glide(size, points), [1, 0.1]) * swell(size, 0.3)))
            t += size / SR * uniform(rng, 1.1, 2)
        t += uniform(rng, 0.05, 0.8)
    return place(n, pieces)


def hoot(rng: Generator, n: int) -> Signal:
    """Return soft low whistles, as of owls, doves and cuckoos."""
    base = loguniform(rng, 280, 750)

    def one() -> Signal:
        size = int(uniform(rng, 0.15, 0.6) * SR)
        return partials(glide(size, (base, base * 1.05, base * 0.9)), [1, 0.08]) * swell(size, 0.3)

    return _repeat(rng, n, (0.4, 1.0), one)


def insects(rng: Generator, n: int) -> Signal:
    """Return chirps of crickets, drones of cicadas, or the buzzing of flies and bees."""
    kind = int(rng.integers(3))
    if kind == 2:
        track = loguniform(rng, 120, 600) * wander(rng, n, 4, 0.85, 1.15)
        return partials(track, rolloff(14, uniform(rng, 0.2, 1))) * wander(rng, n, 3, 0.1, 1)
    carrier = partials(loguniform(rng, 2200, 6500) * wander(rng, n, 5, 0.99, 1.01), [1.0])
    pulse = np.sin(2 * np.pi * loguniform(rng, 15, 90) * np.arange(n) / SR) > uniform(rng, -0.3, 0.5)
    gate = (np.arange(n) / SR * loguniform(rng, 0.8, 6)) % 1 < (uniform(rng, 0.2, 0.7) if kind == 0 else 1.0)
    return carrier * pulse * gate * (1 + 0.5 * rng.standard_normal(n) * (kind == 1))


def frog(rng: Generator, n: int) -> Signal:
    """Return croaks: trains of pulses through narrow bands."""
    curve = resonances([(loguniform(rng, 300, 2500), 8, 1.0), (loguniform(rng, 300, 3000), 8, 0.4)], 0.005)
    rate = loguniform(rng, 20, 120)

    def one() -> Signal:
        size = int(uniform(rng, 0.1, 0.5) * SR)
        pulses = (np.diff(np.floor(np.arange(size) / SR * rate), prepend=0) > 0).astype(float)
        return shape(pulses, curve) * swell(size, 0.2)

    return _repeat(rng, n, (0.3, 0.9), one)


def baby_cry(rng: Generator, n: int) -> Signal:
    """Return wails of about a second at a child's pitch, with pauses for breath."""
    base, t, pieces = uniform(rng, 320, 600), uniform(rng, 0, 0.4), []
    while t < n / SR:
        length = uniform(rng, 0.4, 1.2)
        points = base * np.array([0.85, uniform(rng, 1.0, 1.4), uniform(rng, 0.95, 1.2), 0.75])
        pieces.append((t, call(rng, length, tuple(points), uniform(rng, 0, 0.4), uniform(rng, 1.3, 1.7), 0.05)))
        t += length + uniform(rng, 0.1, 0.5)
    return place(n, pieces)


def laughter(rng: Generator, n: int) -> Signal:
    """Return trains of short breathy vowels that slow down and fall."""
    base, tract = loguniform(rng, 120, 450), uniform(rng, 0.95, 1.5)
    t, gap, pieces = uniform(rng, 0, 0.6), uniform(rng, 0.14, 0.28), []
    for k in range(int(rng.integers(3, 12))):
        pitch = base * 0.97**k
        pieces.append((t, call(rng, gap * 0.6, (pitch * 1.2, pitch, pitch * 0.8), 0.15, tract, 0.5) * 0.95**k))
        t += gap * uniform(rng, 0.95, 1.1)
    return place(n, pieces)


def cough(rng: Generator, n: int) -> Signal:
    """Return one or several coughs (bursts of breath with a rough tail), or sneezes, which begin with a long intake."""
    sneeze = rng.random() < 0.4
    curve = vowel(rng, uniform(rng, 0.9, 1.5))

    def one() -> Signal:
        size = int(uniform(rng, 0.2, 0.5) * SR)
        burst = noise(rng, size, lambda f: curve(f) + 0.1 * band(4000, 3)(f)) * decay(
            size, uniform(rng, 0.04, 0.15), 0.008
        )
        if not sneeze:
            return burst
        intake = noise(rng, int(uniform(rng, 0.2, 0.7) * SR), band(uniform(rng, 1200, 2500), 2))
        return np.concatenate([intake * np.linspace(0, 0.15, len(intake)) * burst.std(), burst])

    return _repeat(rng, n, (0.35, 1.4), one)


def breathing(rng: Generator, n: int) -> Signal:
    """Return breathing in and out, quiet or as a snore."""
    gap = uniform(rng, 0.7, 2.0)
    phase = (np.arange(n) / SR / gap + uniform(rng, 0, 1)) % 1
    air_in, air_out = (noise(rng, n, vowel(rng, uniform(rng, 0.8, 1.6))) for _ in range(2))
    if rng.random() < 0.5:
        flutter = partials(uniform(rng, 25, 80) * wander(rng, n, 4, 0.8, 1.2), [1.0] * 8)
        air_in = air_in * np.maximum(0, flutter)
    return air_in * np.maximum(0, np.sin(2 * np.pi * phase)) + uniform(rng, 0.2, 1) * air_out * np.maximum(
        0, -np.sin(2 * np.pi * phase)
    )


def children(rng: Generator, n: int) -> Signal:
    """Return several high voices that call and squeal at random."""
    pieces = []
    for t in scattered(rng, n, uniform(rng, 2, 7)):
        base = loguniform(rng, 250, 900)
        points = tuple(base * rng.uniform(0.7, 1.5, int(rng.integers(2, 5))))
        one = call(rng, loguniform(rng, 0.12, 0.9), points, uniform(rng, 0, 0.4), uniform(rng, 1.2, 1.7), 0.15)
        pieces.append((t, one * uniform(rng, 0.2, 1)))
    return place(n, pieces) + uniform(rng, 0, 0.05) * noise(rng, n, band(600, 4))


FAMILIES = {
    f.__name__: f
    for f in (
        bark, meow, crow_call, rooster, hen, cattle, songbird, hoot, insects, frog, baby_cry, laughter, cough,
        breathing, children,
    )
}  # fmt: skip
