"""Synthesises alarms, signals and music-like patterns."""

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
    rolloff,
    scattered,
    shape,
    swell,
    uniform,
    unit,
    wander,
)  # fmt: skip

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10))


def _timbre(rng: Generator) -> list[float]:
    return rolloff(int(rng.integers(1, 16)), uniform(rng, 0.3, 2.2), bool(rng.random() < 0.25))


def siren(rng: Generator, n: int) -> Signal:
    """Return a siren that sweeps up and down: a wail, a yelp, or two tones in turn."""
    low = loguniform(rng, 350, 1000)
    high = low * uniform(rng, 1.25, 3)
    rate = loguniform(rng, 0.15, 6)
    phase = (np.arange(n) / SR * rate + uniform(rng, 0, 1)) % 1
    kind = int(rng.integers(3))
    if kind == 0:
        sweep = 0.5 - 0.5 * np.cos(2 * np.pi * phase)
    elif kind == 1:
        turn = uniform(rng, 0.1, 0.9)
        sweep = np.where(phase < turn, phase / turn, (1 - phase) / (1 - turn))
    else:
        sweep = (phase < 0.5).astype(float)
    return partials(low * (high / low) ** sweep, _timbre(rng)) * wander(rng, n, 0.7, 0.6, 1)


def beeps(rng: Generator, n: int) -> Signal:
    """Return a tone that goes on and off, as of alarm clocks, reversing lorries and machines that signal."""
    size = int(loguniform(rng, 0.03, 0.4) * SR)
    tones = [loguniform(rng, 400, 4000) for _ in range(int(rng.integers(1, 3)))]
    one = sum((partials(np.full(size, f), _timbre(rng)) for f in tones), np.zeros(size)) * swell(size, 0.05)
    gap = size / SR * uniform(rng, 1.2, 3.5)
    group = int(rng.integers(1, 5))
    times = regular(rng, n, gap)
    return place(n, [(t, one) for i, t in enumerate(times) if group == 1 or i % (group + 1) != group])


def horn(rng: Generator, n: int) -> Signal:
    """Return blasts of one to three steady reedy tones, as of cars, ships and lorries."""
    base = loguniform(rng, 120, 600)
    out = np.zeros(n)
    for ratio in (1.0, 1.26, 1.5)[: int(rng.integers(1, 4))]:
        out += partials(np.full(n, base * ratio * uniform(rng, 0.98, 1.02)), rolloff(18, uniform(rng, 0.1, 1)))
    out = shape(out, random_body(rng, 500, 4000, 3, 3))
    gate = np.zeros(n)
    t = uniform(rng, 0, 0.6)
    while t < n / SR:
        length = loguniform(rng, 0.1, 2.5)
        a, b = int(t * SR), min(n, int((t + length) * SR))
        gate[a:b] = swell(b - a, 0.04)
        t += length + uniform(rng, 0.1, 1.2)
    return out * gate


def telephone(rng: Generator, n: int) -> Signal:
    """Return a ringing telephone: two tones that alternate quickly, on and off."""
    rate = uniform(rng, 10, 28)
    warble = (np.arange(n) / SR * rate) % 1 < 0.5
    low = loguniform(rng, 400, 2000)
    out = partials(np.where(warble, low, low * uniform(rng, 1.1, 1.5)), _timbre(rng))
    gate = (np.arange(n) / SR + uniform(rng, 0, 2)) % uniform(rng, 0.8, 3) < uniform(rng, 0.4, 1.2)
    return out * gate


def dial(rng: Generator, n: int) -> Signal:
    """Return pairs of steady tones, as telephone keys send them."""
    size = int(uniform(rng, 0.06, 0.2) * SR)
    pieces = []
    for t in regular(rng, n, size / SR * uniform(rng, 1.3, 2.5)):
        a, b = rng.choice([697, 770, 852, 941]), rng.choice([1209, 1336, 1477, 1633])
        pieces.append((t, partials(np.full(size, float(a)), [1]) + partials(np.full(size, float(b)), [1])))
    return place(n, pieces)


def whistle(rng: Generator, n: int) -> Signal:
    """Return a nearly pure tone with breath noise, as of lips, pea whistles and kettles."""
    base = loguniform(rng, 700, 3800)
    size = int(uniform(rng, 0.4, 2.0) * SR)
    track = base * np.exp(wander(rng, size, 4, -0.25, 0.25))
    trill = 1 + (rng.random() < 0.4) * 0.05 * np.sign(np.sin(2 * np.pi * uniform(rng, 15, 40) * np.arange(size) / SR))
    tone = partials(track * trill, [1, 0.1, 0.03]) + 0.1 * noise(rng, size, band(base, 1))
    return place(n, [(t, tone * swell(size, 0.08)) for t in regular(rng, n, size / SR + uniform(rng, 0.05, 1))])


def sweep(rng: Generator, n: int) -> Signal:
    """Return glides from one pitch to another, once or many times, as of lasers, slides and chirps."""
    size = int(loguniform(rng, 0.05, 1.5) * SR)
    a, b = loguniform(rng, 100, 5000), loguniform(rng, 100, 5000)
    one = partials(a * (b / a) ** np.linspace(0, 1, size), _timbre(rng)) * swell(size, 0.1)
    return place(n, [(t, one) for t in regular(rng, n, size / SR * uniform(rng, 1, 2.5))])


def _notes(rng: Generator, count: int, base: float) -> list[float]:
    scale = _SCALES[int(rng.integers(len(_SCALES)))]
    step, out = int(rng.integers(0, 7)), []
    for _ in range(count):
        step = int(np.clip(step + rng.integers(-2, 3), -3, 12))
        out.append(base * 2 ** ((scale[step % len(scale)] + 12 * (step // len(scale))) / 12))
    return out


def plucked(rng: Generator, n: int) -> Signal:
    """Return plucked or struck strings, as single notes or chords, as of guitars, harps and pianos."""
    beat = uniform(rng, 0.12, 0.5)
    times = regular(rng, n, beat, 0.02)
    stretch, bright, tau = uniform(rng, 0, 0.001), uniform(rng, 0.6, 1.8), uniform(rng, 0.15, 0.9)
    size = int(min(2.0, 5 * tau) * SR)
    pieces = []
    for t, pitch in zip(times, _notes(rng, len(times), loguniform(rng, 80, 500)), strict=True):
        for ratio in (1.0, 1.26, 1.5)[: 1 + 2 * int(rng.random() < 0.2)]:
            tone = partials(np.full(size, pitch * ratio), rolloff(12, bright), stretch)
            pieces.append((t, tone * decay(size, tau, 0.003) * uniform(rng, 0.5, 1)))
    return place(n, pieces)


def blown(rng: Generator, n: int) -> Signal:
    """Return long notes with vibrato, as of flutes, reeds, brass, bowed strings and organs."""
    beat = uniform(rng, 0.2, 1.0)
    times = regular(rng, n, beat)
    timbre, rate, depth = _timbre(rng), uniform(rng, 4, 7), uniform(rng, 0, 0.02)
    size = int(beat * uniform(rng, 0.8, 1.1) * SR)
    vibrato = 1 + depth * np.sin(2 * np.pi * rate * np.arange(size) / SR)
    breath = uniform(rng, 0, 0.3)
    pieces = []
    for t, pitch in zip(times, _notes(rng, len(times), loguniform(rng, 120, 900)), strict=True):
        tone = partials(pitch * vibrato, timbre) + breath * noise(rng, size, band(pitch * 2, 2))
        pieces.append((t, tone * swell(size, uniform(rng, 0.05, 0.3))))
    return place(n, pieces)


def drums(rng: Generator, n: int) -> Signal:
    """Return a beat: low drum, snare and cymbal on a regular grid."""
    step = uniform(rng, 0.1, 0.25)
    size = int(0.35 * SR)
    low = loguniform(rng, 45, 120)
    kick = partials(low * (1 + 3 * decay(size, 0.02)), [1]) * decay(size, uniform(rng, 0.06, 0.2))
    snare = noise(rng, size, band(uniform(rng, 1000, 4000), 3)) * decay(size, uniform(rng, 0.04, 0.12))
    hat = noise(rng, size, power_law(-1.0)) * decay(size, uniform(rng, 0.01, 0.08))
    kits = (kick * 1.2, snare * 0.6, hat * 0.25 / (hat.std() + 1e-9) * snare.std())
    pattern = rng.random((3, 8)) < np.array([[0.35], [0.25], [0.7]])
    pieces = []
    for i, t in enumerate(regular(rng, n, step)):
        pieces += [(t, kit) for kit, row in zip(kits, pattern, strict=True) if row[i % 8]]
    return place(n, pieces)


def band_music(rng: Generator, n: int) -> Signal:
    """Return several parts at once: a tune, a bass and a beat."""
    out = np.zeros(n)
    for part in (plucked, blown, drums, plucked):
        if rng.random() < 0.7:
            x = part(rng, n)
            out += uniform(rng, 0.3, 1) * unit(x)
    bass = _notes(rng, 8, loguniform(rng, 40, 90))
    track = np.repeat(bass, -(-n // 8))[:n]
    return out + uniform(rng, 0.2, 0.8) * partials(track, rolloff(6, 1))


def chimes(rng: Generator, n: int) -> Signal:
    """Return high metal tones at random times, as of wind chimes, music boxes and triangles."""
    pitches = _notes(rng, 6, loguniform(rng, 600, 2000))
    size, tau = int(1.5 * SR), uniform(rng, 0.15, 0.8)
    pieces = []
    for t in scattered(rng, n, uniform(rng, 2, 8)):
        pitch = pitches[int(rng.integers(6))]
        tone = partials(np.full(size, pitch), [1]) + 0.4 * partials(np.full(size, min(7000.0, pitch * 2.76)), [1])
        pieces.append((t, tone * decay(size, tau) * uniform(rng, 0.2, 1)))
    return place(n, pieces)


def buzzer(rng: Generator, n: int) -> Signal:
    """Return blasts of a harsh low tone."""
    tone = np.sign(partials(np.full(n, loguniform(rng, 60, 400)), [1])) * wander(rng, n, 5, 0.8, 1)
    gate = (np.arange(n) / SR + uniform(rng, 0, 1)) % uniform(rng, 0.4, 2.5) < uniform(rng, 0.2, 1.5)
    return shape(tone, random_body(rng, 200, 4000, 3, 3)) * gate


FAMILIES = {
    f.__name__: f
    for f in (
        siren, beeps, horn, telephone, dial, whistle, sweep, plucked, blown, drums, band_music, chimes,
        buzzer,
    )
}  # fmt: skip
