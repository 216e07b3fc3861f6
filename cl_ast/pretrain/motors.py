"""Synthesises engines, tools and other things that turn, saw or hammer."""

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
    regular,
    rolloff,
    shape,
    uniform,
    unit,
    wander,
)  # fmt: skip


def _firing(rng: Generator, track: Signal, cylinders: int, roughness: float) -> Signal:
    """Return pulses at a rate (Hz) that follows `track`. Each cylinder has its own strength."""
    phase = np.cumsum(track) / SR
    strength = rng.uniform(1 - roughness, 1, cylinders)
    pulse = np.exp(-uniform(rng, 4, 15) * (phase % 1))
    return np.asarray(pulse * strength[(phase.astype(int)) % cylinders])


def idle(rng: Generator, n: int) -> Signal:
    """Return an idling engine: pulses with a rough rhythm through a low body."""
    track = uniform(rng, 12, 45) * wander(rng, n, 3, 0.95, 1.05)
    pulses = _firing(rng, track, int(rng.integers(1, 7)), uniform(rng, 0.1, 0.7))
    body = random_body(rng, 40, 900, 5, 3.0)
    out = shape(pulses - pulses.mean(), body) + uniform(rng, 0, 0.5) * shape(pulses * rng.standard_normal(n), body)
    hiss = noise(rng, n, power_law(uniform(rng, 0.3, 1.0)))
    return unit(out) + uniform(rng, 0.05, 0.5) * unit(hiss)


def revving(rng: Generator, n: int) -> Signal:
    """Return an engine that speeds up and slows down."""
    base = uniform(rng, 30, 110)
    track = glide(n, list(base * rng.uniform(0.6, 2.5, int(rng.integers(2, 5)))))
    pulses = _firing(rng, track, int(rng.integers(1, 5)), uniform(rng, 0.05, 0.4))
    out = shape(pulses - pulses.mean(), random_body(rng, 60, 2500, 5, 3.0))
    return unit(out) + uniform(rng, 0.05, 0.4) * noise(rng, n, power_law(0.5))


def passing(rng: Generator, n: int) -> Signal:
    """Return a vehicle that passes: tyres and engine rise, drop in pitch and fade."""
    t = np.arange(n) / SR - uniform(rng, 0.3, 2.2)
    speed = uniform(rng, 0.5, 4)
    near = 1 / (1 + (t * speed) ** 2)
    tyres = noise(rng, n, band(uniform(rng, 500, 1500), 2.5))
    tone = partials(uniform(rng, 50, 150) * (1 - 0.08 * np.tanh(t * speed)), rolloff(10, uniform(rng, 0.5, 1.5)))
    return near * (unit(tyres) + uniform(rng, 0.1, 1) * tone)


def chainsaw(rng: Generator, n: int) -> Signal:
    """Return the bright buzz of a two-stroke engine that slows under load."""
    track = uniform(rng, 70, 190) * wander(rng, n, uniform(rng, 1, 6), 0.6, 1.15)
    pulses = _firing(rng, track, int(rng.integers(1, 3)), uniform(rng, 0, 0.3))
    out = shape((pulses - pulses.mean()) * (1 + 0.6 * rng.standard_normal(n)), random_body(rng, 300, 6000, 5, 2.0))
    return out * wander(rng, n, 3, 0.5, 1)


def drill(rng: Generator, n: int) -> Signal:
    """Return an electric tool: a high whine, gears, and a grinding band that comes and goes with pressure."""
    base = loguniform(rng, 150, 900)
    load = wander(rng, n, 2, 0.8, 1.1)
    whine = partials(base * load, list(rng.uniform(0.1, 1, 12)))
    grind = noise(rng, n, band(loguniform(rng, 1200, 5500), uniform(rng, 1, 3))) * (0.5 + 0.5 * np.sign(whine))
    press = wander(rng, n, 2, 0, 1)
    return whine + uniform(rng, 0.3, 3) * press * grind


def jackhammer(rng: Generator, n: int) -> Signal:
    """Return blows of metal on stone, 8 to 32 per second, sometimes in bursts."""
    rate = uniform(rng, 8, 32)
    size = int(0.12 * SR)
    bodies = [random_body(rng, 80, 6000, 5, 2.5) for _ in range(3)]
    blows = [noise(rng, size, c) * decay(size, uniform(rng, 0.008, 0.035)) for c in bodies]
    times = regular(rng, n, 1 / rate, 0.05)
    out = place(n, [(t, blows[int(rng.integers(3))] * uniform(rng, 0.6, 1)) for t in times])
    if rng.random() < 0.4:
        out *= (wander(rng, n, 1.5, 0, 1) > 0.3).astype(float) * 0.95 + 0.05
    return out + uniform(rng, 0.02, 0.3) * float(out.std()) * noise(rng, n, power_law(0.5))


def helicopter(rng: Generator, n: int) -> Signal:
    """Return low regular blade slaps over turbine noise."""
    rate = uniform(rng, 7, 24)
    phase = (np.arange(n) / SR * rate + 0.02 * wander(rng, n, 2, -1, 1)) % 1
    slap = np.exp(-uniform(rng, 3, 12) * phase)
    low = noise(rng, n, power_law(uniform(rng, 0.6, 1.2)))
    whine = partials(np.full(n, loguniform(rng, 400, 2500)), [1.0, 0.3])
    out = unit(low) * (uniform(rng, 0.05, 0.4) + slap)
    return (out + uniform(rng, 0, 0.15) * whine) * wander(rng, n, 0.5, 0.5, 1)


def fan(rng: Generator, n: int) -> Signal:
    """Return moving air and the steady tone of the blades, as of fans, coolers, hair dryers and vacuum cleaners."""
    air = noise(rng, n, lambda f: power_law(uniform(rng, 0.2, 0.9))(f) * (0.2 + random_body(rng, 100, 4000, 3, 2)(f)))
    base = loguniform(rng, 60, 600)
    tone = partials(np.full(n, base), rolloff(8, uniform(rng, 0.3, 2)))
    beat = 1 + uniform(rng, 0, 0.3) * np.sin(2 * np.pi * uniform(rng, 0.5, 15) * np.arange(n) / SR)
    return unit(air) * beat + loguniform(rng, 0.01, 1) * tone


def electric(rng: Generator, n: int) -> Signal:
    """Return an electric motor that starts, runs and stops, as in mixers, servos and trams."""
    top = loguniform(rng, 200, 2500)
    track = glide(n, [top * uniform(rng, 0.1, 0.6), top, top * uniform(rng, 0.9, 1.1), top * uniform(rng, 0.1, 1)])
    tone = partials(track, list(rng.uniform(0.05, 1, 10)), uniform(rng, 0, 0.002))
    air = noise(rng, n, power_law(0.4))
    return tone * (track / top) + uniform(rng, 0.05, 0.8) * unit(air) * (track / top) ** 2


def train(rng: Generator, n: int) -> Signal:
    """Return a train: pairs of clacks over rail joints, a rumble and a squeal."""
    gap = uniform(rng, 0.3, 0.9)
    size = int(0.2 * SR)
    clack = noise(rng, size, random_body(rng, 150, 2500, 4, 3)) * decay(size, uniform(rng, 0.02, 0.06))
    pieces = []
    for t in regular(rng, n, gap, 0.03):
        pieces += [(t, clack), (t + gap * uniform(rng, 0.15, 0.3), clack * 0.8)]
    rumble = noise(rng, n, power_law(uniform(rng, 0.8, 1.4)))
    squeal = partials(loguniform(rng, 1500, 4000) * wander(rng, n, 3, 0.97, 1.03), [1, 0.4])
    out = place(n, pieces)
    squeal *= wander(rng, n, 2, 0, 1) ** 4
    return unit(out) + uniform(rng, 0.2, 1) * unit(rumble) + 0.2 * squeal


def sewing(rng: Generator, n: int) -> Signal:
    """Return light clatter at a motor's rate, as of sewing machines, printers and looms."""
    rate = wander(rng, n, 1.5, 0.5, 1) * uniform(rng, 8, 25)
    phase = np.cumsum(rate) / SR
    clicks = np.diff(np.floor(phase), prepend=0.0) * rng.uniform(0.6, 1, n)
    out = shape(clicks * 1.0, random_body(rng, 500, 6000, 4, 3))
    click = np.convolve(clicks, noise(rng, 240, band(3000, 3)) * decay(240, 0.004))[:n]
    tone = partials(rate * uniform(rng, 8, 20), rolloff(8, 1))
    return unit(out) + unit(click) + uniform(rng, 0, 0.6) * tone


def saw(rng: Generator, n: int) -> Signal:
    """Return strokes to and fro, as of hand saws, brushes, sandpaper and scrubbing."""
    gap = uniform(rng, 0.2, 0.8)
    there = uniform(rng, 0.35, 0.65)
    phase = (np.arange(n) / SR / gap + uniform(rng, 0, 1)) % 1
    forward = np.where(phase < there, np.sin(np.pi * phase / there), 0)
    back = np.where(phase >= there, np.sin(np.pi * (phase - there) / (1 - there)), 0)
    grain = (rng.random(n) < loguniform(rng, 0.005, 1)) * rng.standard_normal(n)
    one, two = (shape(grain, random_body(rng, 600, 6000, 3, 2)) for _ in range(2))
    return unit(one) * forward + uniform(rng, 0.2, 1) * unit(two) * back


FAMILIES = {
    f.__name__: f
    for f in (
        idle, revving, passing, chainsaw, drill, jackhammer, helicopter, fan, electric, train, sewing, saw,
    )
}  # fmt: skip
