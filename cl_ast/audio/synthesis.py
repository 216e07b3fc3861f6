"""Synthesises short sounds and speech-like commands, for the demo's tasks and for the router's background.

All randomness comes from the generator that is passed in. Clips are mono, 16 kHz, float32, with a peak of at most 1.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from cl_ast.audio.reading import SAMPLE_RATE, Waveform

Random = np.random.Generator
Signal = npt.NDArray[np.float64]
Maker = Callable[[Random, int], Signal]
"""A function that synthesises a sound of this many samples."""


def render(maker: Maker, random: Random, seconds: float) -> Waveform:
    """Return one clip: the sound at a random level, in a random room, over faint noise."""
    samples = max(1, round(seconds * SAMPLE_RATE))
    signal = maker(random, samples)
    signal = signal / (np.abs(signal).max() + 1e-9)
    signal = _room(signal, random)
    signal += random.normal(size=samples) * 10 ** random.uniform(-3.2, -2.0)
    signal *= random.uniform(0.2, 0.9) / (np.abs(signal).max() + 1e-9)
    return signal.astype(np.float32)


# Sounds


def rain(random: Random, n: int) -> Signal:
    """Return coloured noise with drops."""
    drops = (random.random(n) < 0.004) * random.uniform(0.5, 4, n)
    return _colour(random.normal(size=n), random.uniform(-0.2, 0.4)) + np.convolve(drops, _decay(400), "same")


def siren(random: Random, n: int) -> Signal:
    """Return a tone that sweeps up and down."""
    sweep = np.sin(2 * np.pi * random.uniform(0.4, 1.5) * _time(n) + random.uniform(0, 6))
    return _tone(random.uniform(700, 1000) + random.uniform(200, 400) * sweep, harmonics=3)


def engine(random: Random, n: int) -> Signal:
    """Return a low harmonic hum, rough and slightly unsteady."""
    wobble = 1 + 0.03 * np.sin(2 * np.pi * random.uniform(2, 6) * _time(n))
    hum = _tone(random.uniform(45, 110) * wobble, harmonics=18)
    return hum * (1 + 0.4 * random.normal(size=n)) + 0.1 * _colour(random.normal(size=n), -0.9)


def bell(random: Random, n: int) -> Signal:
    """Return decaying inharmonic partials, as of a bell that is struck."""
    base = random.uniform(400, 1400)
    partials = sum(
        np.sin(2 * np.pi * base * ratio * _time(n)) * np.exp(-_time(n) * random.uniform(2, 8) * ratio)
        for ratio in (1.0, 2.76, 5.4, 8.93)
        if base * ratio < SAMPLE_RATE / 2
    )
    return _later(np.asarray(partials), random, 0.3)


def dog(random: Random, n: int) -> Signal:
    """Return short barks, which are falling harmonic bursts."""
    out = np.zeros(n)
    at = int(random.uniform(0, 0.15) * SAMPLE_RATE)
    while at < n:
        length = min(n - at, int(random.uniform(0.08, 0.18) * SAMPLE_RATE))
        pitch = random.uniform(300, 600) * np.linspace(1.2, 0.7, length)
        out[at : at + length] += _tone(pitch, harmonics=8) * np.hanning(length)
        at += length + int(random.uniform(0.08, 0.3) * SAMPLE_RATE)
    return out


def clock(random: Random, n: int) -> Signal:
    """Return ticks at a steady rate."""
    out = np.zeros(n)
    period = int(SAMPLE_RATE / random.uniform(3, 7))
    for at in range(int(random.uniform(0, period)), n, period):
        length = min(300, n - at)
        out[at : at + length] += random.normal(size=length) * _decay(300)[:length]
    return _colour(out, 0.6)


def birds(random: Random, n: int) -> Signal:
    """Return fast, high chirps."""
    out = np.zeros(n)
    at = int(random.uniform(0, 0.1) * SAMPLE_RATE)
    while at < n:
        length = min(n - at, int(random.uniform(0.04, 0.12) * SAMPLE_RATE))
        start = random.uniform(2500, 4500)
        pitch = np.linspace(start, start * random.uniform(0.7, 1.5), length)
        out[at : at + length] += _tone(pitch, harmonics=1) * np.hanning(length)
        at += length + int(random.uniform(0.03, 0.2) * SAMPLE_RATE)
    return out


def hammer(random: Random, n: int) -> Signal:
    """Return dull knocks at an uneven rate."""
    out = np.zeros(n)
    at = int(random.uniform(0, 0.2) * SAMPLE_RATE)
    while at < n:
        length = min(n - at, 1600)
        ring = np.sin(2 * np.pi * random.uniform(120, 260) * _time(length))
        out[at : at + length] += ring * _decay(1600)[:length]
        at += int(random.uniform(0.15, 0.4) * SAMPLE_RATE)
    return out


# Speech-like commands: syllables with vowels, which are a glottal buzz shaped by two formants

_VOWELS: Mapping[str, tuple[float, float]] = {
    "a": (800, 1200),
    "e": (450, 2000),
    "i": (300, 2400),
    "o": (500, 900),
    "u": (330, 700),
}


def syllables(word: str) -> Maker:
    """Return a maker of one word, such as "ba-di": each syllable has a vowel, and a burst of noise for a consonant."""

    def say(random: Random, n: int) -> Signal:
        out = np.zeros(n)
        pitch = random.uniform(90, 240)
        rate = random.uniform(0.13, 0.22)
        shift = random.uniform(0.9, 1.15)
        at = int(random.uniform(0.02, 0.12) * SAMPLE_RATE)
        for syllable in word.split("-"):
            length = min(n - at, int(rate * random.uniform(0.8, 1.2) * SAMPLE_RATE))
            if length < 200:
                break
            out[at : at + length] += _vowel(syllable[-1], pitch, shift, length, random)
            if len(syllable) > 1:
                burst = random.normal(size=min(400, length)) * _decay(400)[: min(400, length)]
                out[at : at + len(burst)] += 0.5 * _colour(burst, 0.7 if syllable[0] in "tks" else -0.5)
            at += length + int(0.02 * SAMPLE_RATE)
        return out

    return say


def _vowel(name: str, pitch: float, shift: float, n: int, random: Random) -> Signal:
    glide = pitch * np.linspace(1.05, random.uniform(0.8, 1.0), n)
    phase = 2 * np.pi * np.cumsum(glide) / SAMPLE_RATE
    out = np.zeros(n)
    for harmonic in range(1, int(4000 / pitch)):
        frequency = harmonic * pitch
        gain = sum(1 / (1 + ((frequency - formant * shift) / 120) ** 2) for formant in _VOWELS[name])
        out += gain * np.sin(harmonic * phase)
    return out * np.hanning(n) ** 0.5


SOUNDS: Mapping[str, Maker] = {
    "rain": rain,
    "siren": siren,
    "engine": engine,
    "bell": bell,
}
ANIMALS_AND_TOOLS: Mapping[str, Maker] = {"dog": dog, "birds": birds, "clock": clock, "hammer": hammer}
COMMANDS: Mapping[str, Maker] = {word: syllables(word) for word in ("ba-di", "to-ku", "si-a", "mo-ne")}


def background(random: Random) -> Signal:
    """Return one second (16000,) of sound of no task: noise, tones, clicks and vowels mixed at random."""
    n = SAMPLE_RATE
    parts: list[Maker] = [
        lambda r, m: _colour(r.normal(size=m), r.uniform(-0.95, 0.9)),
        lambda r, m: _tone(r.uniform(60, 3000) * np.geomspace(1, r.uniform(0.5, 2), m), int(r.integers(1, 12))),
        lambda r, m: (r.random(m) < 0.001) * r.normal(size=m),
        *(maker for group in (SOUNDS, ANIMALS_AND_TOOLS) for maker in group.values()),
        syllables("-".join(random.choice([*"aeiou"], size=int(random.integers(1, 5))))),
    ]
    chosen = random.choice(len(parts), size=int(random.integers(1, 4)), replace=False)
    mixed = np.zeros(n)
    for index in chosen:
        part = parts[index](random, n)
        mixed += random.uniform(0.1, 1) * part / (np.abs(part).max() + 1e-9)
    return mixed


def noise(random: Random) -> Signal:
    """Return 0.3 to 3 s of coloured noise, louder in some bands than in others, perhaps with a swelling level."""
    n = int(SAMPLE_RATE * random.uniform(0.3, 3))
    coloured = _colour(random.normal(size=n), random.uniform(-1, 1))
    bands = random.uniform(-40, 0, int(random.integers(1, 7)))  # dB
    spectrum = np.fft.rfft(coloured)
    spectrum *= 10 ** (np.interp(np.linspace(0, len(bands) - 1, len(spectrum)), np.arange(len(bands)), bands) / 20)
    swelling = random.uniform(0, 0.8) * np.sin(2 * np.pi * random.uniform(0.5, 8) * _time(n))
    out: Signal = np.fft.irfft(spectrum, n) * (1 + swelling)
    return out


def _time(n: int) -> Signal:
    return np.arange(n) / SAMPLE_RATE


def _decay(n: int) -> Signal:
    return np.exp(-np.arange(n) / (n / 5))


def _tone(pitch: float | Signal, harmonics: int) -> Signal:
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    out: Signal = np.sum([np.sin(h * phase) / h for h in range(1, harmonics + 1)], axis=0)
    return out


def _colour(x: Signal, pole: float) -> Signal:
    """Filter in the frequency domain; a negative pole makes the sound dull, a positive one makes it bright."""
    spectrum = np.fft.rfft(x)
    frequency = np.linspace(0, 1, len(spectrum)) + 1e-3
    shaped: Signal = np.fft.irfft(spectrum * frequency**pole, n=len(x))
    return shaped


def _later(x: Signal, random: Random, most: float) -> Signal:
    """Delay the sound by a random share of its length, up to `most`."""
    shift = int(random.uniform(0, most) * len(x))
    return np.concatenate([np.zeros(shift), x[: len(x) - shift]])


def _room(x: Signal, random: Random) -> Signal:
    """Add a short, exponentially decaying echo."""
    length = int(random.uniform(0.02, 0.12) * SAMPLE_RATE)
    echo = random.normal(size=length) * _decay(length) * random.uniform(0.02, 0.15)
    echo[0] = 1.0
    return np.convolve(x, echo)[: len(x)]
