"""How far an accuracy that was measured on few clips can be off."""

import math

_Z = 1.959964  # 95 % of a normal distribution is within so many standard deviations
Interval = tuple[float, float]


def wilson(right: int, clips: int) -> Interval | None:
    """Return the 95 % interval of a share, as fractions in [0, 1] (Wilson, 1927); None where there is no clip.

    Unlike the usual normal approximation it is sensible for few clips and for shares near 0 and 1: of 2 clips of which
    2 are right it says 0.34 to 1.
    """
    if clips == 0:
        return None
    share, z = right / clips, _Z**2 / clips
    centre = (share + z / 2) / (1 + z)
    half = _Z / (1 + z) * math.sqrt(share * (1 - share) / clips + z / (4 * clips))
    return (max(0.0, centre - half) if right else 0.0), (min(1.0, centre + half) if right < clips else 1.0)
