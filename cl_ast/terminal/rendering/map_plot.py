"""Draws maps of clips: their embeddings in two dimensions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cl_ast.terminal.rendering.plot import plain, pyplot_of, save

_MARKERS = "osx^+vD*<P>dhX"  # neighbouring classes have markers that differ most


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
    pyplot = pyplot_of()
    classes = sorted(set(labels))
    shades = pyplot.get_cmap("viridis")
    size = (4.2 * len(names) + 1.8, 4.4)
    figure, axes = pyplot.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
    for axis, name, places in zip(axes[0], names, maps, strict=True):
        for number, one in enumerate(classes):
            own = places[[label == one for label in labels]]
            marker, shade = _MARKERS[number % len(_MARKERS)], shades(0.85 * number / max(1, len(classes) - 1))
            label = plain(one) or "no label"
            axis.scatter(own[:, 0], own[:, 1], s=22, linewidths=0.8, marker=marker, color=shade, label=label)
        axis.set(title=plain(name), xticks=[], yticks=[])
    shown = axes[0][0].get_legend_handles_labels()
    columns = 1 + (len(classes) - 1) // 25
    figure.legend(*shown, loc="outside right upper", fontsize="small", ncols=columns, handletextpad=0.2)
    save(pyplot, figure, path)
