"""Chooses the device that the backbone runs on, and the precision of its arithmetic there."""

import time
from functools import lru_cache

import torch

from cl_ast.errors import ClAstError


def pick_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is the GPU, if there is one, and "cuda:1" the second one.

    Raises ClAstError if it is not available.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind, _, number = name.partition(":")
    if kind == "cuda" and number.isdecimal() and available["cuda"]:
        count = torch.cuda.device_count()
        if int(number) >= count:
            raise ClAstError(f"no device {name!r} here: the GPUs are cuda:0 to cuda:{count - 1}; use one of them")
    elif not available.get(name, False):
        raise ClAstError(f"no device {name!r} here; use --device cpu")
    return torch.device(name)


_MOST_TIME = 0.85  # bf16's share of fp32's time; a smaller gain is lost in conversions between the two types


def uses_bf16(device: torch.device, kind: str) -> bool:
    """Return whether the backbone computes in bf16.

    Args:
        kind: "fp32" or "bf16"; "auto" is bf16 on a GPU and fp32 elsewhere, so that results do not depend on the model
            of the CPU; "fast" is bf16 on a CPU too if a test of some milliseconds finds it faster there.
    """
    if kind == "fast" and device.type == "cpu":
        return bf16_is_faster()
    return kind == "bf16" or (kind != "fp32" and device.type == "cuda")


@lru_cache(maxsize=1)
def bf16_is_faster() -> bool:
    """Return whether this CPU multiplies matrices faster in bf16 (AMX, AVX512-bf16); measured once, in some 30 ms."""
    x, weight = torch.ones(512, 768), torch.ones(768, 768)

    def fastest(dtype: torch.dtype) -> float:
        a, b = x.to(dtype), weight.to(dtype)
        times = []
        for _ in range(4):
            started = time.perf_counter()
            torch.nn.functional.linear(a, b)
            times.append(time.perf_counter() - started)
        return min(times)

    return fastest(torch.bfloat16) < _MOST_TIME * fastest(torch.float32)
