"""Draws each task's test accuracy after every later task, and writes plots to files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cl_ast.errors import ClAstError
from cl_ast.escaping import escaped


def check(path: Path) -> None:
    """Raise ClAstError where a plot could not be written to that path: better before hours of work than after them."""
    pyplot = pyplot_of()
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
    pyplot = pyplot_of()
    names = [plain(task["name"]) for task in report["tasks"]]
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
    measures = dict.fromkeys(task["metric"] for task in report["tasks"])
    axes[0].set_ylabel(f"test {' or '.join(measures)}, %")
    axes[0].legend(loc="lower left", fontsize="small")
    save(pyplot, figure, path)


def plain(name: str) -> str:
    """Return a name in which nothing is taken for a formula, which a dollar would begin, and no character is hidden."""
    return escaped(name).replace("$", "\\$")


def pyplot_of() -> Any:
    """Return matplotlib's pyplot, drawing to files. Raises ClAstError where it is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise ClAstError("drawing needs matplotlib: pip install 'cl-ast[plot]'") from None
    return pyplot


def save(pyplot: Any, figure: Any, path: Path) -> None:
    """Write a figure in the format of the file's ending, and close it. Raises ClAstError where that cannot be done."""
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ClAstError(f"{path}: the plot cannot be written ({error})") from None
    finally:
        pyplot.close(figure)
