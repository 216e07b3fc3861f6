"""Synthesises short struck, dropped and burst sounds, alone, repeated or in trains."""

import numpy as np
from numpy.random import Generator

from cl_ast.pretrain.dsp import (
    SR,
    Signal,
    band,
    decay,
    loguniform,
    noise,
    partials,
    place,
    power_law,
    random_body,
    regular,
    scattered,
    shape,
    uniform,
)  # fmt: skip


def struck(rng: Generator, low: float, high: float, tau: float, count: int = 5, hit: float = 0.5) -> Signal:
    """Return one blow on a body: decaying inharmonic modes, and the noise of the hit.

    Args:
        rng: the random generator.
        low, high: the range of the modes in Hz.
        tau: the time constant of the decay in seconds.
        count: the number of modes.
        hit: the level of the noise.
    """
    n = int(min(2.0, 6 * tau + 0.05) * SR)
    out = np.zeros(n)
    for _ in range(count):
        mode = partials(np.full(n, loguniform(rng, low, high)), [1.0])
        out += uniform(rng, 0.2, 1) * mode * decay(n, tau * uniform(rng, 0.4, 1.3))
    burst = noise(rng, n, band(loguniform(rng, low, high), 2.5)) * decay(n, uniform(rng, 0.002, 0.02))
    return out / count + hit * burst


def _hits(rng: Generator, n: int, low: float, high: float, tau: float, hit: float, interval: float) -> Signal:
    blow = struck(rng, low, high, tau, int(rng.integers(2, 8)), hit)
    times = regular(rng, n, interval, uniform(rng, 0, 0.15))
    keep = max(1, int(rng.integers(1, len(times) + 2)))
    return place(n, [(t, blow * uniform(rng, 0.5, 1)) for t in times[:keep]])


def knock(rng: Generator, n: int) -> Signal:
    """Return knocks of knuckles or a mallet on wood."""
    return _hits(rng, n, 90, 900, uniform(rng, 0.02, 0.07), 0.6, uniform(rng, 0.12, 0.5))


def hammer(rng: Generator, n: int) -> Signal:
    """Return blows of metal on metal that ring."""
    return _hits(rng, n, 700, 6000, uniform(rng, 0.05, 0.3), 0.8, uniform(rng, 0.25, 0.9))


def bell(rng: Generator, n: int) -> Signal:
    """Return strokes of a bell, from a hand bell to a church bell."""
    base = loguniform(rng, 150, 2200)
    ratios = (0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.17)
    tau = uniform(rng, 0.3, 2.0)
    size = int(2.2 * SR)
    one = np.zeros(size)
    for ratio in ratios:
        if base * ratio < 7500:
            tone = partials(np.full(size, base * ratio * uniform(rng, 0.995, 1.005)), [1.0])
            one += uniform(rng, 0.2, 1) * tone * decay(size, tau / ratio**0.7)
    return place(n, [(t, one) for t in regular(rng, n, uniform(rng, 0.4, 2.5), 0.05)])


def glass_break(rng: Generator, n: int) -> Signal:
    """Return a crash that is followed by many small high rings."""
    start = uniform(rng, 0, 0.8)
    size = int(0.5 * SR)
    pieces = [(start, noise(rng, size, power_law(-0.3)) * decay(size, uniform(rng, 0.03, 0.12)))]
    for _ in range(int(rng.integers(10, 35))):
        when = start + float(rng.exponential(0.25))
        piece = struck(rng, 2000, 7500, uniform(rng, 0.01, 0.08), 2, 0.2)
        pieces.append((when, piece * uniform(rng, 0.1, 0.9)))
    return place(n, pieces)


def footsteps(rng: Generator, n: int) -> Signal:
    """Return steps of heel and toe, on ground from soft to gritty."""
    interval = uniform(rng, 0.3, 0.75)
    curve, grit = random_body(rng, 80, 2500, 3, 2.0), uniform(rng, 0.01, 0.06)
    size = int(0.25 * SR)
    pieces = []
    for t in regular(rng, n, interval, 0.08):
        step = noise(rng, size, curve) * decay(size, grit, 0.004)
        pieces += [(t, step * uniform(rng, 0.6, 1)), (t + interval * 0.18, step * uniform(rng, 0.2, 0.6))]
    return place(n, pieces)


def clock_tick(rng: Generator, n: int) -> Signal:
    """Return small regular clicks, equal or in alternating pairs."""
    interval = uniform(rng, 0.2, 1.0)
    pair = [struck(rng, 900, 7000, uniform(rng, 0.003, 0.02), 3, 0.5) for _ in range(2)]
    second = uniform(rng, 0.3, 1)
    return place(n, [(t, pair[i % 2] * (second if i % 2 else 1)) for i, t in enumerate(regular(rng, n, interval))])


def keyboard(rng: Generator, n: int) -> Signal:
    """Return typing: irregular light clicks."""
    size = int(0.06 * SR)
    pieces = []
    for t in scattered(rng, n, uniform(rng, 3, 10)):
        for late, level in ((0.0, 1.0), (uniform(rng, 0.03, 0.09), 0.4)):
            click = noise(rng, size, random_body(rng, 500, 6000, 2, 3)) * decay(size, uniform(rng, 0.003, 0.012))
            pieces.append((t + late, click * level * uniform(rng, 0.4, 1)))
    return place(n, pieces)


def clap(rng: Generator, n: int) -> Signal:
    """Return one person's claps."""
    size = int(0.2 * SR)
    curve = band(uniform(rng, 700, 2500), uniform(rng, 1, 2.5))
    tau = uniform(rng, 0.006, 0.03)
    return place(
        n,
        [(t, noise(rng, size, curve) * decay(size, tau)) for t in regular(rng, n, uniform(rng, 0.15, 0.7), 0.1)],
    )


def applause(rng: Generator, n: int) -> Signal:
    """Return many people's claps."""
    size = int(0.05 * SR)
    claps = [noise(rng, size, band(uniform(rng, 700, 2800), 1.5)) * decay(size, 0.01) for _ in range(12)]
    times = scattered(rng, n, uniform(rng, 40, 150))
    return place(n, [(t, claps[int(rng.integers(12))] * uniform(rng, 0.2, 1)) for t in times])


def blast(rng: Generator, n: int) -> Signal:
    """Return shots or explosions: a sharp crack and a dull tail."""
    size = int(uniform(rng, 0.5, 2.0) * SR)
    pieces = []
    times = scattered(rng, n, uniform(rng, 0.2, 1.5))[: int(rng.integers(1, 4))]
    for t in times if rng.random() < 0.6 else [uniform(rng, 0, 0.5)]:
        crack = noise(rng, size) * decay(size, uniform(rng, 0.004, 0.03), 0.0005)
        tail = noise(rng, size, power_law(uniform(rng, 0.5, 1.3))) * decay(size, uniform(rng, 0.08, 0.6), 0.002)
        boom = tail * (np.abs(crack).max() / (np.abs(tail).max() + 1e-9))
        pieces.append((t, crack + uniform(rng, 0.2, 1.2) * boom))
    return place(n, pieces)


def fireworks(rng: Generator, n: int) -> Signal:
    """Return a whistle that rises, then a bang and crackling."""
    start = uniform(rng, 0.1, 0.8)
    size = int(start * SR) + 1
    rise = partials(np.linspace(uniform(rng, 700, 1500), uniform(rng, 2000, 4500), size), [1.0]) * 0.15
    pieces = [(0.0, rise), (start, blast(rng, int(1.5 * SR)))]
    size = int(0.02 * SR)
    crackle = scattered(rng, n, uniform(rng, 10, 60))
    pieces += [(t, noise(rng, size) * decay(size, 0.003) * 0.5) for t in crackle if t > start]
    return place(n, pieces)


def door(rng: Generator, n: int) -> Signal:
    """Return a thud with a rattle, sometimes after a creak."""
    start = min(uniform(rng, 0.1, 1.2), 0.5 * n / SR)
    thud = struck(rng, 50, 400, uniform(rng, 0.04, 0.15), 5, 1.0)
    pieces = [(start, thud)]
    pieces += [
        (start + 0.02 * k * uniform(rng, 0.5, 2), struck(rng, 400, 3000, 0.02, 3, 0.5) * 0.3) for k in range(1, 4)
    ]
    if rng.random() < 0.5:
        size = int(start * SR) + 1
        track = np.interp(np.arange(size), np.linspace(0, size, 5), rng.uniform(40, 300, 5))
        creak = partials(track, [1.0] * 12)
        pieces.append((0.0, shape(creak, random_body(rng, 400, 3000)) * 0.4))
    return place(n, pieces)


def bounce(rng: Generator, n: int) -> Signal:
    """Return something dropped that bounces faster and faster: a ball, a coin or a lid."""
    low, high = (90, 700) if rng.random() < 0.5 else (1500, 7000)
    blow = struck(rng, low, high, loguniform(rng, 0.02, 0.25), 4, 0.5)
    t, gap, level = uniform(rng, 0, 0.4), uniform(rng, 0.2, 0.6), 1.0
    ratio = uniform(rng, 0.6, 0.9)
    pieces = []
    while gap > 0.02 and t < n / SR:
        pieces.append((t, blow * level))
        t, gap, level = t + gap, gap * ratio, level * ratio
    return place(n, pieces)


FAMILIES = {
    f.__name__: f
    for f in (
        knock, hammer, bell, glass_break, footsteps, clock_tick, keyboard, clap, applause, blast, fireworks,
        door,
        bounce,
    )
}  # fmt: skip
