"""Provides the signal functions that every synthetic sound is built from. They use numpy only.

Signals are one-dimensional arrays of samples at 16 kHz. `n` is a number of samples, and all random numbers come from
the generator `rng`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SR = 16_000
Signal = NDArray[np.float64]
Curve = Callable[[Signal], Signal]


def uniform(rng: Generator, low: float, high: float) -> float:
    """Return a random number between `low` and `high`."""
    return float(rng.uniform(low, high))


def loguniform(rng: Generator, low: float, high: float) -> float:
    """Return a random number between `low` and `high`, with every octave equally likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def unit(x: Signal) -> Signal:
    """Return the signal scaled to a standard deviation of one. Silence stays silent."""
    return np.asarray(x / (x.std() + 1e-9))


def seconds(n: int) -> Signal:
    """Return the time of each of `n` samples in seconds."""
    return np.arange(n) / SR


@lru_cache(maxsize=4096)
def _fast(n: int) -> int:
    """Return the next length with prime factors 2, 3 and 5 only, for which FFTs are fast."""
    best = 1 << (n - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            two = 1 << max(0, -(-n // three) - 1).bit_length()
            best = min(best, two * three)
            three *= 3
        five *= 5
    return best


def shape(x: Signal, curve: Curve) -> Signal:
    """Filter a signal with a zero-phase magnitude response, given as a function of frequency in Hz."""
    size = _fast(len(x))
    frequencies: Signal = np.fft.rfftfreq(size, 1 / SR).astype(np.float64)
    frequencies[0] = frequencies[1]
    return np.fft.irfft(np.fft.rfft(x, size) * curve(frequencies), size)[: len(x)]


def noise(rng: Generator, n: int, curve: Curve | None = None) -> Signal:
    """Return Gaussian noise, white unless a response is given."""
    x = rng.standard_normal(n)
    return x if curve is None else shape(x, curve)


def power_law(exponent: float) -> Curve:
    """Return a response that falls with this power of the frequency: 0 is white, 0.5 pink, 1 brown."""
    return lambda f: (f / 1000.0) ** -exponent


def band(center: float, width: float = 1.0, order: float = 4.0) -> Curve:
    """Return a band around `center` Hz, `width` octaves wide, with soft edges."""
    return lambda f: 1.0 / (1.0 + np.abs(2.0 * np.log2(f / center) / width) ** order)


def resonances(peaks: Sequence[tuple[float, float, float]], floor: float = 0.02) -> Curve:
    """Return a sum of resonances (Hz, quality, gain) over a constant floor, as of bodies, tubes and vowels."""

    def curve(f: Signal) -> Signal:
        total = np.full_like(f, floor)
        for center, quality, gain in peaks:
            total += gain / np.sqrt(1.0 + (quality * (f / center - center / f)) ** 2)
        return total

    return curve


def random_body(rng: Generator, low: float, high: float, count: int = 3, quality: float = 6.0) -> Curve:
    """Return resonances at random frequencies between `low` and `high` Hz."""
    peaks = [(loguniform(rng, low, high), quality * uniform(rng, 0.5, 2), uniform(rng, 0.3, 1)) for _ in range(count)]
    return resonances(peaks)


def vowel(rng: Generator, scale: float = 1.0) -> Curve:
    """Return a vowel-like response of three formants at `scale` times a man's frequencies."""
    f1, f2 = uniform(rng, 280, 850), uniform(rng, 800, 2300)
    return resonances([(f1 * scale, 5, 1.0), (f2 * scale, 9, 0.5), (uniform(rng, 2300, 3200) * scale, 12, 0.25)])


def wander(rng: Generator, n: int, rate: float, low: float, high: float) -> Signal:
    """Return a slow random curve: about `rate` random values per second, joined by straight lines."""
    count = max(2, int(n / SR * rate) + 2)
    return np.interp(np.arange(n), np.linspace(0, n, count), rng.uniform(low, high, count))


def glide(n: int, points: Sequence[float]) -> Signal:
    """Return a frequency track through equally spaced points in Hz, with straight lines of log frequency."""
    return np.exp(np.interp(np.arange(n), np.linspace(0, n, len(points)), np.log(points)))


def partials(f0: Signal, amplitudes: Sequence[float], stretch: float = 0.0) -> Signal:
    """Return a harmonic tone along a frequency track in Hz. `stretch` raises the partials as a stiff string does."""
    phase = 2 * np.pi * np.cumsum(f0) / SR
    top = float(f0.max())
    out = np.zeros_like(phase)
    if stretch:
        for k, amplitude in enumerate(amplitudes, 1):
            ratio = k * np.sqrt(1 + stretch * k * k)
            if ratio * top < SR / 2:
                out += amplitude * np.sin(ratio * phase)
        return out
    # Chebyshev's recursion needs only one sine and one cosine for any number of partials.
    double_cos, before, now = 2 * np.cos(phase), np.zeros_like(phase), np.sin(phase)
    for k, amplitude in enumerate(amplitudes, 1):
        if k * top >= SR / 2:
            break
        out += amplitude * now
        before, now = now, double_cos * now - before
    return out


def rolloff(count: int, exponent: float, odd_only: bool = False) -> list[float]:
    """Return amplitudes of partials that fall with a power of their number."""
    return [0.0 if odd_only and k % 2 == 0 else k**-exponent for k in range(1, count + 1)]


def decay(n: int, tau: float, attack: float = 0.001) -> Signal:
    """Return an envelope: a linear attack of `attack` seconds, then an exponential decay with time constant `tau`."""
    t = seconds(n)
    return np.minimum(1.0, t / attack) * np.exp(-t / tau)


def swell(n: int, edge: float = 0.2) -> Signal:
    """Return an envelope that rises and falls smoothly over the share `edge` of the length at each end."""
    x = np.linspace(0, 1, n)
    return np.asarray(np.clip(np.minimum(x, 1 - x) / max(edge, 1e-3), 0, 1) ** 0.7)


def place(n: int, pieces: Sequence[tuple[float, Signal]]) -> Signal:
    """Add signals at their times in seconds to `n` samples. What goes beyond the end is cut."""
    out = np.zeros(n)
    for time, piece in pieces:
        start = int(time * SR)
        if 0 <= start < n:
            stop = min(n, start + len(piece))
            out[start:stop] += piece[: stop - start]
    return out


def regular(rng: Generator, n: int, interval: float, jitter: float = 0.0) -> list[float]:
    """Return times in seconds, `interval` apart from a random start, each moved by up to `jitter` intervals."""
    times = np.arange(uniform(rng, 0, interval), n / SR, interval)
    return [float(max(0.0, t + uniform(rng, -jitter, jitter) * interval)) for t in times]


def scattered(rng: Generator, n: int, rate: float) -> list[float]:
    """Return times in seconds of a Poisson process with `rate` events per second, and at least one."""
    count = max(1, int(rng.poisson(rate * n / SR)))
    return sorted(float(t) for t in rng.uniform(0, n / SR, count))


def reverberate(rng: Generator, x: Signal, rt60: float, wet: float) -> Signal:
    """Add reverberation of `rt60` seconds at the relative level `wet`, from decaying, slightly dull noise."""
    size = int(min(rt60, 1.2) * SR)
    response = rng.standard_normal(size) * 10 ** (-3 * seconds(size) / rt60)
    response = shape(response, power_law(uniform(rng, 0.0, 0.6)))
    response[: int(uniform(rng, 0.001, 0.02) * SR)] = 0
    total = _fast(len(x) + size)
    tail = np.fft.irfft(np.fft.rfft(x, total) * np.fft.rfft(response, total), total)[: len(x)]
    return np.asarray(x + wet * tail * np.sqrt(np.mean(x**2) / (np.mean(tail**2) + 1e-12)))


def normalise(x: Signal, level: float = 0.1) -> Signal:
    """Return the signal without its mean, scaled to a root mean square of `level`. Silence stays silent."""
    x = x - x.mean()
    return np.asarray(x * (level / (np.sqrt(np.mean(x**2)) + 1e-9)))
