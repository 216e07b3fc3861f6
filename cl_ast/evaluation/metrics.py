"""Metrics of a stream of tasks, as pure functions of its accuracy matrix.

R[i][j] is the test accuracy on task j after learning task i. Entries may be None if they were not measured; those above
the diagonal usually are, since these tasks were not learned yet.
"""

from collections.abc import Mapping, Sequence

Row = Sequence[float | None]
Matrix = Sequence[Row]


def average_accuracy(matrix: Matrix) -> float | None:
    """Return the mean of the last row: (1/T) Σ_j R[T][j] (Lopez-Paz & Ranzato, GEM, 2017)."""
    return _mean(matrix[-1]) if matrix else None


def learned_accuracy(matrix: Matrix) -> float | None:
    """Return the mean of the diagonal: the accuracy on each task right after learning it."""
    return _mean([row[i] for i, row in enumerate(matrix)])


def average_incremental_accuracy(matrix: Matrix) -> float | None:
    """Return the mean over rows of the mean over the tasks learned so far (Rebuffi et al., iCaRL, 2017)."""
    return _mean([_mean(row[: i + 1]) for i, row in enumerate(matrix)])


def backward_transfer(matrix: Matrix) -> float | None:
    """Return (1/(T-1)) Σ_{i<T} (R[T][i] - R[i][i]) (GEM); negative means forgetting; 0 for one task."""
    changes = [
        now - learned
        for now, learned in ((matrix[-1][j], matrix[j][j]) for j in range(len(matrix) - 1))
        if now is not None and learned is not None
    ]
    return _over_earlier_tasks(matrix, changes)


def forgetting(matrix: Matrix) -> float | None:
    """Return (1/(T-1)) Σ_{j<T} (max_{l<T} R[l][j] - R[T][j]) (Chaudhry et al., RWalk, 2018); 0 for one task.

    The maximum is over earlier rows only, so the result is negative if the tasks got better.
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
    """Return (1/(T-1)) Σ_{i≥2} (R[i-1][i] - b[i]) (GEM).

    It is None if tasks have no head before they are learned, as with isolated adapters.

    Args:
        untrained: b, the accuracy on each task before any training.
    """
    ahead = [matrix[i - 1][i] for i in range(1, len(matrix))]
    if not ahead or any(value is None for value in ahead):
        return None
    return _mean([value - untrained[i] for i, value in enumerate(ahead, 1) if value is not None])


def of_cells(cells: Mapping[tuple[int, int], float], tasks: int) -> dict[str, float | None]:
    """Return average accuracy, forgetting and backward transfer of a matrix that is given by its measured cells.

    The numbers are those of the functions above, computed in time proportional to the number of cells, not to tasks².

    Args:
        cells: R[i][j] by (i, j).
        tasks: the number of tasks.
    """
    last = tasks - 1
    now = {j: value for (i, j), value in cells.items() if i == last}
    best: dict[int, float] = {}
    for (i, j), value in cells.items():
        if i < last:
            best[j] = max(value, best.get(j, value))
    earlier = [j for j in sorted(now) if j < last]
    drops = [best[j] - now[j] for j in earlier if j in best]
    changes = [now[j] - cells[j, j] for j in earlier if (j, j) in cells]
    single_task = bool(tasks == 1 and now)
    return {
        "average_accuracy": _mean([now[j] for j in sorted(now)]),
        "forgetting": 0.0 if single_task else _mean(drops),
        "backward_transfer": 0.0 if single_task else _mean(changes),
    }


def _over_earlier_tasks(matrix: Matrix, values: Sequence[float]) -> float | None:
    """Return the mean of the values; 0 for a stream of one measured task, None if nothing was measured."""
    if len(matrix) == 1 and matrix[0][0] is not None:
        return 0.0
    return _mean(values)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
