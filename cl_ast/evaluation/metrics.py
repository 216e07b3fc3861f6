"""Metrics of a stream of tasks, as pure functions of its accuracy matrix.

R[i][j] is the test accuracy on task j after learning task i; entries above the diagonal may be None (not learned
yet). Nothing here reads a model, and no argument is changed.
"""

from collections.abc import Mapping, Sequence

Row = Sequence[float | None]
Matrix = Sequence[Row]


def average_accuracy(matrix: Matrix) -> float | None:
    """Mean of the last row: (1/T) Σ_j R[T][j] (Lopez-Paz & Ranzato, GEM, 2017)."""
    return _mean(matrix[-1]) if matrix else None


def learned_accuracy(matrix: Matrix) -> float | None:
    """Mean of the diagonal: each task when it had just been learned."""
    return _mean([row[i] for i, row in enumerate(matrix)])


def average_incremental_accuracy(matrix: Matrix) -> float | None:
    """Mean over rows of the mean over tasks learned so far (iCaRL's tradition)."""
    return _mean([_mean(row[: i + 1]) for i, row in enumerate(matrix)])


def backward_transfer(matrix: Matrix) -> float | None:
    """(1/(T-1)) Σ_{i<T} (R[T][i] - R[i][i]) (GEM). Negative is forgetting; 0 for one task."""
    changes = [
        now - learned
        for now, learned in ((matrix[-1][j], matrix[j][j]) for j in range(len(matrix) - 1))
        if now is not None and learned is not None
    ]
    return _over_earlier_tasks(matrix, changes)


def forgetting(matrix: Matrix) -> float | None:
    """(1/(T-1)) Σ_{j<T} (max_{l<T} R[l][j] - R[T][j]) (Chaudhry et al., RWalk, 2018).

    The maximum is over earlier rows only, so it can be negative: the task got better. 0 for one task.
    """
    drops = []
    for j in range(len(matrix) - 1):
        earlier = [row[j] for row in matrix[:-1]]
        known = [value for value in earlier if value is not None]
        now = matrix[-1][j]
        if known and now is not None:
            drops.append(max(known) - now)
    return _over_earlier_tasks(matrix, drops)


def forward_transfer(matrix: Matrix, untrained: Sequence[float]) -> float | None:
    """(1/(T-1)) Σ_{i≥2} (R[i-1][i] - b[i]) (GEM), b the accuracy before any training.

    None where tasks have no head before they are learned, as with isolated adapters.
    """
    ahead = [matrix[i - 1][i] for i in range(1, len(matrix))]
    if not ahead or any(value is None for value in ahead):
        return None
    return _mean([value - untrained[i] for i, value in enumerate(ahead, 1) if value is not None])


def of_cells(cells: Mapping[tuple[int, int], float], tasks: int) -> dict[str, float | None]:
    """Average accuracy, forgetting and backward transfer of a matrix of which `cells` is all that is known.

    The same numbers as the functions above, in time of what was measured and not of tasks².
    """
    last = tasks - 1
    now = {j: value for (i, j), value in cells.items() if i == last}
    best: dict[int, float] = {}
    for (i, j), value in cells.items():
        if i < last:
            best[j] = max(value, best.get(j, value))
    earlier = [j for j in sorted(now) if j < last]
    one = 0.0 if tasks == 1 and now else None
    drops = [best[j] - now[j] for j in earlier if j in best]
    changes = [now[j] - cells[j, j] for j in earlier if (j, j) in cells]
    return {
        "average_accuracy": _mean([now[j] for j in sorted(now)]),
        "forgetting": one if one is not None else _mean(drops),
        "backward_transfer": one if one is not None else _mean(changes),
    }


def _over_earlier_tasks(matrix: Matrix, values: Sequence[float]) -> float | None:
    """Their mean; 0 for a stream of one measured task, None where nothing was measured."""
    if len(matrix) == 1 and matrix[0][0] is not None:
        return 0.0
    return _mean(values)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
