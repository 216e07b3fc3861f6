"""Retention as a picture: each task's test accuracy after every later task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cl_ast.errors import ClAstError


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write the accuracy of every task over the stream, by name and routed, as png, svg or pdf.

    Raises:
        ClAstError: matplotlib is not installed, nothing was measured, or the file cannot be written.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise ClAstError("drawing needs matplotlib: pip install 'cl-ast[plot]'") from None
    names = [task["name"] for task in report["tasks"]]
    if not names:
        raise ClAstError("there is no task to draw yet")
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, (mode, title) in zip(axes, (("oracle", "asked by name"), ("auto", "task routed")), strict=True):
        for column, name in enumerate(names):
            values = [row[column] for row in report["matrix"][mode]]
            known = [(i, 100 * value) for i, value in enumerate(values) if value is not None]
            axis.plot([i for i, _ in known], [value for _, value in known], marker="o", label=name)
        axis.set(title=title, xlabel="after learning", ylim=(0, 102))
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test accuracy, %")
    axes[0].legend(loc="lower left", fontsize="small")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ClAstError(f"{path}: the plot cannot be written ({error})") from None
    finally:
        pyplot.close(figure)
