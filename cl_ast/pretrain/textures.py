"""Synthesises steady and slowly changing noises: weather, water, fire, crowds and static."""

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
    power_law,
    random_body,
    scattered,
    shape,
    uniform,
    unit,
    vowel,
    wander,
)  # fmt: skip


def rain(rng: Generator, n: int) -> Signal:
    """Return fine noise with single drops on top."""
    out = noise(rng, n, power_law(uniform(rng, -0.3, 0.4))) * wander(rng, n, 1.0, 0.8, 1.0)
    size = int(0.02 * SR)
    drops = []
    for t in scattered(rng, n, uniform(rng, 10, 120)):
        drop = noise(rng, size, band(loguniform(rng, 800, 6000), 1.0)) * decay(size, uniform(rng, 0.002, 0.006))
        drops.append((t, drop * float(rng.exponential(1.0))))
    return out + uniform(rng, 0.5, 4) * place(n, drops)


def stream(rng: Generator, n: int) -> Signal:
    """Return running water: many short rising tones (bubbles) over soft noise."""
    pieces = []
    size = int(0.05 * SR)
    for t in scattered(rng, n, uniform(rng, 30, 110)):
        base = loguniform(rng, 300, 3000)
        bubble = partials(np.linspace(base, base * uniform(rng, 1.0, 1.6), size), [1.0])
        pieces.append((t, bubble * decay(size, uniform(rng, 0.005, 0.02), 0.002) * uniform(rng, 0.1, 1)))
    return place(n, pieces) + uniform(rng, 0.02, 0.3) * noise(rng, n, band(uniform(rng, 500, 3000), 3))


def pouring(rng: Generator, n: int) -> Signal:
    """Return the filling of a vessel: gurgles under a resonance that rises."""
    base = uniform(rng, 200, 700)
    low = noise(rng, n, band(base, 0.8))
    high = noise(rng, n, band(base * uniform(rng, 2, 4), 0.8))
    mix = np.linspace(0, 1, n)
    return ((1 - mix) * low + mix * high) * wander(rng, n, 15, 0.2, 1) + 0.3 * stream(rng, n)


def waves(rng: Generator, n: int) -> Signal:
    """Return surf: noise that swells, and is brighter as it breaks."""
    rate, start = uniform(rng, 0.1, 0.5), uniform(rng, 0, 1)
    phase = (np.arange(n) / SR * rate + start) % 1
    surge = np.exp(-(((phase - 0.5) / uniform(rng, 0.1, 0.3)) ** 2))
    dull = noise(rng, n, power_law(uniform(rng, 0.4, 1.0)))
    bright = noise(rng, n, power_law(uniform(rng, -0.2, 0.4)))
    return np.asarray(dull * (0.15 + surge) + bright * surge**2 * uniform(rng, 0.2, 1))


def wind(rng: Generator, n: int) -> Signal:
    """Return low gusts with a moving whistle."""
    out = noise(rng, n, power_law(uniform(rng, 0.8, 1.5))) * wander(rng, n, 2, 0.3, 1)
    bands = [noise(rng, n, band(f, 0.5)) for f in (300, 500, 800, 1200)]
    gust = sum((b * wander(rng, n, 1.5, 0, 1) ** 2 for b in bands), np.zeros(n))
    return unit(out) + uniform(rng, 0.1, 1.2) * unit(gust)


def thunder(rng: Generator, n: int) -> Signal:
    """Return low rolling bursts."""
    pieces = []
    size = int(1.5 * SR)
    for t in scattered(rng, n, uniform(rng, 1, 4)):
        roll = noise(rng, size, power_law(uniform(rng, 1.0, 1.8)))
        pieces.append((t, unit(roll) * decay(size, uniform(rng, 0.2, 0.8), 0.05) * uniform(rng, 0.2, 1)))
    return place(n, pieces)


def fire(rng: Generator, n: int) -> Signal:
    """Return crackles of many sizes over a low roar."""
    pieces = []
    size = int(0.04 * SR)
    for t in scattered(rng, n, uniform(rng, 8, 50)):
        snap = noise(rng, size, band(loguniform(rng, 700, 6500), uniform(rng, 1, 3)))
        pieces.append((t, snap * decay(size, loguniform(rng, 0.001, 0.01), 0.0005) * float(rng.pareto(2.0) + 0.1)))
    roar = noise(rng, n, power_law(uniform(rng, 0.7, 1.4))) * wander(rng, n, 4, 0.5, 1)
    return place(n, pieces) + uniform(rng, 0.02, 0.3) * unit(roar)


def frying(rng: Generator, n: int) -> Signal:
    """Return a hiss made of very many tiny pops."""
    impulses = (rng.random(n) < uniform(rng, 0.01, 0.08)) * rng.standard_normal(n)
    hiss = shape(impulses, band(uniform(rng, 2500, 6000), uniform(rng, 1.5, 3)))
    return hiss * wander(rng, n, 6, 0.5, 1)


def steam(rng: Generator, n: int) -> Signal:
    """Return a jet of air or gas: bright steady noise, often for part of the time only."""
    out = noise(rng, n, band(uniform(rng, 2000, 6500), uniform(rng, 1, 2.5)))
    start, stop = sorted(rng.uniform(0, 1, 2))
    gate = np.interp(np.linspace(0, 1, n), [0, start, start + 0.02, stop + 0.05, 1.1], [0.02, 0.02, 1, 0.8, 0.02])
    return out * (gate if rng.random() < 0.6 else 1.0)


def static(rng: Generator, n: int) -> Signal:
    """Return electric noise: mains hum, hiss and spikes."""
    base = 50.0 if rng.random() < 0.6 else 60.0
    hum = partials(np.full(n, base * 2), list(rng.uniform(0.05, 1, 14)))
    spikes = (rng.random(n) < loguniform(rng, 2e-5, 2e-3)) * rng.standard_normal(n) * 20
    return uniform(rng, 0.1, 1.5) * hum + noise(rng, n, power_law(uniform(rng, -0.2, 0.5))) + spikes


def hum(rng: Generator, n: int) -> Signal:
    """Return a room or a distant machine: dull noise and a few steady low tones."""
    out = noise(rng, n, power_law(uniform(rng, 0.6, 1.4)))
    tones = np.zeros(n)
    for _ in range(int(rng.integers(0, 5))):
        tones += uniform(rng, 0.1, 1) * partials(np.full(n, loguniform(rng, 50, 1200)), [1.0, 0.3, 0.1])
    return unit(out) + uniform(rng, 0.05, 0.8) * tones


def crowd(rng: Generator, n: int) -> Signal:
    """Return many voices in which no word can be understood."""
    out = np.zeros(n)
    scale = uniform(rng, 0.9, 1.5)
    for _ in range(int(rng.integers(5, 12))):
        size = int(uniform(rng, 0.6, 1.4) * SR)
        base = loguniform(rng, 90, 380)
        track = glide(size, list(base * rng.uniform(0.8, 1.3, 6)))
        voice = shape(partials(track, [1.0] * 14), vowel(rng, scale)) * wander(rng, size, 9, 0, 1)
        out += place(n, [(uniform(rng, 0, n / SR - 0.3), voice * uniform(rng, 0.2, 1))])
    return out + uniform(rng, 0.02, 0.4) * noise(rng, n, band(700, 3))


def generic(rng: Generator, n: int) -> Signal:
    """Return random noise through a random body with random modulation, for sounds that the other families miss."""
    out = noise(rng, n, random_body(rng, 60, 7000, int(rng.integers(1, 6)), loguniform(rng, 0.7, 20)))
    rate, depth = loguniform(rng, 0.5, 60), uniform(rng, 0, 1)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * rate * np.arange(n) / SR + uniform(rng, 0, 6))
    return out * (1 - depth + depth * wave ** loguniform(rng, 0.5, 8)) * wander(rng, n, 1, 0.3, 1)


FAMILIES = {
    f.__name__: f
    for f in (
        rain, stream, pouring, waves, wind, thunder, fire, frying, steam, static, hum, crowd, generic,
    )
}  # fmt: skip
