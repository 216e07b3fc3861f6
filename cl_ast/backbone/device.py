"""The device that the backbone runs on, and the arithmetic that suits it."""

import time
from functools import lru_cache

import torch

from cl_ast.errors import ClAstError


def pick_device(name: str) -> torch.device:
    """ "auto" is the GPU where there is one. Raises ClAstError for a device that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there.get(name, False):
        raise ClAstError(f"no device {name!r} here; use --device cpu")
    return torch.device(name)


_WINS = 0.85  # of the time: less of a gain is lost again in conversions


def halved(device: torch.device, kind: str) -> bool:
    """Whether the backbone computes in bf16.

    Args:
        kind: "fp32" or "bf16"; "auto" is bf16 on a GPU and fp32 elsewhere, so that results on a CPU do not depend on
            which; "fast" is bf16 on a CPU too where a probe of some milliseconds finds it faster there.
    """
    if kind == "fast" and device.type == "cpu":
        return bf16_wins()
    return kind == "bf16" or (kind != "fp32" and device.type == "cuda")


def precision(device: torch.device, kind: str = "auto") -> torch.autocast:
    """The backbone's arithmetic, of a kind of `PRECISIONS`, as a block; adapters stay in fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=halved(device, kind))


@lru_cache(maxsize=1)
def bf16_wins() -> bool:
    """Whether this processor multiplies matrices faster in bf16 (AMX, AVX512-bf16): measured once, in some 30 ms."""
    x, weight = torch.ones(512, 768), torch.ones(768, 768)

    def fastest(dtype: torch.dtype) -> float:
        a, b = x.to(dtype), weight.to(dtype)
        times = []
        for _ in range(4):
            started = time.perf_counter()
            torch.nn.functional.linear(a, b)
            times.append(time.perf_counter() - started)
        return min(times)

    return fastest(torch.bfloat16) < _WINS * fastest(torch.float32)
