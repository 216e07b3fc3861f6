"""Measure with `python -m benchmarks [NAME ...]`, write RESULTS.md and results.json, and print what changed.

Each module of MODULES has `measure() -> list[Row]`. With a name only that module is measured, and the other rows stay.
Those of BY_NAME are measured only when they are named. The rows of `gpu`, and of `scale` where there is a GPU, are in
GPU.md and gpu.json, apart from those of CPUs.
"""

import argparse
import importlib.util
import json
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from benchmarks import scale
from benchmarks.rows import Row
from benchmarks.timing import processor_flags

MODULES = ("frontend", "storage", "training", "serving")
BY_NAME = ("gpu", "scale", "streams", "serve")
HERE = Path(__file__).parent
_CPU_FILES, _GPU_FILES = ("RESULTS.md", "results.json"), ("GPU.md", "gpu.json")
_ON_CPU = (
    "`make bench` writes this page. Candidates take turns, one round each; a ratio is the median over the rounds,",
    "and the spread is its smallest and largest value. docs/performance-measured.md explains the figures.",
)
_ON_GPU = (
    "`python -m benchmarks gpu` writes this page. A time is the median over the rounds, after some that do not count;",
    "the spread is the smallest and the largest. docs/performance-measured.md explains the figures.",
)
_HEADS = "| what | compared with | ratio | measured | spread | target | met | note |"
_RULE = "|---|---|--:|--:|---|---|---|---|"
_PACKAGES = ("torch", "torchaudio", "transformers", "peft", "numpy", "soxr")


def main(names: Sequence[str], options: Mapping[str, Mapping[str, Any]] = MappingProxyType({})) -> None:
    """Measure the modules of these names, or all modules of a CPU for no names.

    Args:
        options: what a module is called with, by its name.
    """
    there = [name for name in MODULES if importlib.util.find_spec(f"benchmarks.{name}")]
    for name in names or there:
        on_gpu = name == "gpu" or (name == "scale" and torch.cuda.is_available())
        _measure(name, options.get(name, {}), on_gpu)


def _measure(name: str, options: Mapping[str, Any], on_gpu: bool) -> None:
    """Measure a module, print what changed, and write it to the page and its figures."""
    page_file, json_file = (HERE / file for file in (_GPU_FILES if on_gpu else _CPU_FILES))
    now = json.loads(json_file.read_text(encoding="utf-8")) if json_file.exists() else {}
    before = now.get(name, {}).get("rows", [])
    print(f"measuring {name}", file=sys.stderr)
    rows = import_module(f"benchmarks.{name}").measure(**options)
    now[name] = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    for line in changes(before, now[name]["rows"]):
        print(line)
    json_file.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page_file.write_text(page(now, _ON_GPU if on_gpu else _ON_CPU), encoding="utf-8")


def machine() -> str:
    """Return the date, the machine, its load and the versions of the packages, in words."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    load = Path("/proc/loadavg").read_text().split()[0] if Path("/proc/loadavg").exists() else "unknown"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {place}, load {load} at the end; Python {platform.python_version()}; {packages}"
    )


def _processor() -> str:
    words = processor_flags()
    name = re.search(r"model name\s*: (.*)", words)
    halves = [word for word in ("amx_bf16", "avx512_bf16") if word in words]
    cores = words.count("processor\t") or "some"
    return f"{name[1] if name else platform.machine()}, {cores} virtual cores, {' and '.join(halves) or 'no bf16'}"


def changes(before: Sequence[dict[str, object]], now: Sequence[dict[str, object]]) -> list[str]:
    """Return a line for each ratio that lies outside the spread of the other run, both ways."""
    old = {(row["what"], row["against"]): row for row in before}
    lines = []
    for row in now:
        was = old.get((row["what"], row["against"]))
        if was and was["ratio"] and row["ratio"] and not (_within(was, row) or _within(row, was)):
            lines.append(f"{row['what']}: {was['ratio']:.3g} before, {row['ratio']:.3g} now ({row['spread']})")
    return lines


def _within(row: dict[str, object], other: dict[str, object]) -> bool:
    """Return whether a ratio lies in the spread of the other run, or equals it where that one is exact."""
    ends = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", str(other["spread"]))[:2]]
    low, high = (min(ends), max(ends)) if len(ends) == 2 else (other["ratio"], other["ratio"])
    return bool(0.98 * low <= row["ratio"] <= 1.02 * high)  # type: ignore[operator]


def page(results: dict[str, dict[str, object]], about: Sequence[str]) -> str:
    """Return the text of a page; `about` says who writes it, and how it is measured."""
    lines = ["# Results", "", *about]
    for name, found in results.items():
        lines += ["", f"## {name}", "", f"{found['machine']}.", ""]
        lines += [_HEADS, _RULE]
        lines += [_line(Row(**row)) for row in found["rows"]]  # type: ignore[attr-defined]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    found = "" if row.ratio is None else f"{row.ratio:.3g}" if row.ratio < 100 else f"{row.ratio:,.0f}"
    value = (
        ""
        if row.value is None
        else f"{row.value:.3g} {row.unit}"
        if row.value < 1000
        else f"{row.value:,.0f} {row.unit}"
    )
    met = "" if not row.target else "yes" if row.met else "**no**"
    cells = (row.what, row.against, found, value, row.spread, row.target, met, row.note)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    known = (*MODULES, *BY_NAME)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(known)}; by default all but {', '.join(BY_NAME)}"
    )
    scale.arguments(parser)
    given = parser.parse_args()
    if unknown := set(given.names) - set(known):
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    main(given.names, {"scale": {"clips": given.clips, "layout": given.layout}})
