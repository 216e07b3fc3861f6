"""Draws plots: each task's accuracy after every later task, the accuracy of methods by size, and maps of clips."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cl_ast.errors import ClAstError
from cl_ast.escaping import escaped

_MARKERS = "osx^+vD*<P>dhX"  # neighbouring classes have markers that differ most


def check(path: Path) -> None:
    """Raise ClAstError where a plot could not be written to that path: better before hours of work than after them."""
    pyplot = _pyplot()
    known = pyplot.figure().canvas.get_supported_filetypes()
    pyplot.close()
    kind = path.suffix.removeprefix(".").lower()
    if kind not in known:
        raise ClAstError(f"{path}: a plot is written as png, svg or pdf; give the file such an ending")
    if path.is_dir():
        raise ClAstError(f"{path}: this is a folder; name a file for the plot")
    if not path.parent.is_dir():
        raise ClAstError(f"{path}: there is no folder {path.parent}; make it, or name another place for the plot")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ClAstError(f"{path}: you may not write the plot there; name another place")


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write a plot of the accuracy of every task over the stream, by name and routed, as png, svg or pdf.

    Raises:
        ClAstError: matplotlib is not installed, nothing was measured, or the file cannot be written.
    """
    pyplot = _pyplot()
    names = [_plain(task["name"]) for task in report["tasks"]]
    if not names:
        raise ClAstError("there is no task to draw yet")
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, (mode, title) in zip(axes, (("oracle", "by name"), ("auto", "routed")), strict=True):
        for column, name in enumerate(names):
            values = [row[column] for row in report["matrix"][mode]]
            known = [(i, 100 * value) for i, value in enumerate(values) if value is not None]
            axis.plot([i for i, _ in known], [value for _, value in known], marker="o", label=name)
        axis.set(title=title, xlabel="after adding the task", ylim=(0, 102))
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test accuracy, %")
    axes[0].legend(loc="lower left", fontsize="small")
    _save(pyplot, figure, path)


def draw_methods(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a plot of accuracy by number of parameters, with the deviation over seeds, as png, svg or pdf.

    Raises:
        ClAstError: matplotlib is not installed, no method was trained, or the file cannot be written.
    """
    pyplot = _pyplot()
    known = [row for row in rows if row["accuracy"] is not None]
    if not known:
        raise ClAstError("no method was trained: there is nothing to draw")
    figure, axis = pyplot.subplots(figsize=(11, 6), layout="constrained")
    # The points have numbers, since names would overlap: many methods have the same size.
    numbers: dict[tuple[int, float], list[str]] = {}
    for number, row in enumerate(sorted(known, key=lambda row: -row["accuracy"]), 1):
        at = (row["trainable_parameters"], 100 * row["accuracy"])
        label = f"{number}  {_plain(row['method'])}  {at[1]:.1f}"
        axis.errorbar(*at, yerr=100 * (row["spread"] or 0), fmt="o", capsize=3, alpha=0.7, label=label)
        numbers.setdefault(at, []).append(str(number))
    for at, coinciding in numbers.items():
        axis.annotate(", ".join(coinciding), at, xytext=(5, 4), textcoords="offset points", fontsize="small")
    axis.set(xscale="log", xlabel="trainable parameters", ylabel="test accuracy, %")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small", title="best first", handlelength=1)
    _save(pyplot, figure, path)


def draw_maps(names: Sequence[str], labels: Sequence[str], maps: Sequence[npt.NDArray[np.float32]], path: Path) -> None:
    """Write maps of the same clips side by side, as png, svg or pdf.

    A class has a marker and a shade of its own, so that a print in grey can be read, too.

    Args:
        names: of the maps.
        labels: of the n clips; clips without a label share one class.
        maps: the places (n, 2) of the clips on each map.

    Raises:
        ClAstError: matplotlib is not installed, or the file cannot be written.
    """
    pyplot = _pyplot()
    classes = sorted(set(labels))
    shades = pyplot.get_cmap("viridis")
    size = (4.2 * len(names) + 1.8, 4.4)
    figure, axes = pyplot.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
    for axis, name, places in zip(axes[0], names, maps, strict=True):
        for number, one in enumerate(classes):
            own = places[[label == one for label in labels]]
            marker, shade = _MARKERS[number % len(_MARKERS)], shades(0.85 * number / max(1, len(classes) - 1))
            label = _plain(one) or "no label"
            axis.scatter(own[:, 0], own[:, 1], s=22, linewidths=0.8, marker=marker, color=shade, label=label)
        axis.set(title=_plain(name), xticks=[], yticks=[])
    shown = axes[0][0].get_legend_handles_labels()
    columns = 1 + (len(classes) - 1) // 25
    figure.legend(*shown, loc="outside right upper", fontsize="small", ncols=columns, handletextpad=0.2)
    _save(pyplot, figure, path)


def _plain(name: str) -> str:
    """Return a name in which nothing is taken for a formula, which a dollar would begin, and no character is hidden."""
    return escaped(name).replace("$", "\\$")


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise ClAstError("drawing needs matplotlib: pip install 'cl-ast[plot]'") from None
    return pyplot


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ClAstError(f"{path}: the plot cannot be written ({error})") from None
    finally:
        pyplot.close(figure)
