"""Metrics of a stream of tasks, as pure functions of its accuracy matrix.

R[i, j] is the test accuracy on task j after task i was learned. A matrix is given as its cells that were measured, by
(i, j), and the number of tasks: most cells of a long stream are not known, and the work is in proportion to those that
are. Cells that were not measured are left out of every mean; they are not zeros.
"""

from collections.abc import Iterable, Mapping

Cells = Mapping[tuple[int, int], float]


def average_accuracy(cells: Cells, tasks: int) -> float | None:
    """Return the mean of the last row, (1/T) Σ_j R[T, j] (Lopez-Paz & Ranzato, GEM, 2017); None for an empty row."""
    return _mean(_last_row(cells, tasks).values())


def forgetting(cells: Cells, tasks: int) -> float | None:
    """Return (1/(T-1)) Σ_{j<T} (max_{l<T} R[l, j] - R[T, j]) (Chaudhry et al., RWalk, 2018).

    The maximum is over earlier rows only, so the value is negative where a task got better. It is 0 for one task.
    """
    best: dict[int, float] = {}
    for (i, j), value in cells.items():
        if i < tasks - 1:
            best[j] = max(value, best.get(j, value))
    last = _last_row(cells, tasks)
    return _over_earlier_tasks(cells, tasks, {j: best[j] - value for j, value in last.items() if j in best})


def backward_transfer(cells: Cells, tasks: int) -> float | None:
    """Return (1/(T-1)) Σ_{j<T} (R[T, j] - R[j, j]) (GEM, 2017). Negative is forgetting. It is 0 for one task."""
    last = _last_row(cells, tasks)
    return _over_earlier_tasks(cells, tasks, {j: value - cells[j, j] for j, value in last.items() if (j, j) in cells})


def mean_incremental_accuracy(cells: Cells, tasks: int) -> float | None:
    """Return (1/T) Σ_i (1/i) Σ_{j≤i} R[i, j], the mean over time of the accuracy so far (Rebuffi et al., iCaRL, 2017).

    None where nothing is known of a time.
    """
    rows = [_mean(value for (i, j), value in cells.items() if i == row and j <= i) for row in range(tasks)]
    known = [row for row in rows if row is not None]
    return _mean(known) if len(known) == tasks else None


def intransigence(cells: Cells, reference: Cells, tasks: int) -> float | None:
    """Return (1/T) Σ_k (a*[k] - R[k, k]), where a*[k] is the accuracy on task k of a reference that was trained on the
    tasks up to k together (Chaudhry et al., RWalk, 2018); `reference[k, k]`. Negative where the reference is worse.
    """
    both = [(k, k) for k in range(tasks) if (k, k) in cells and (k, k) in reference]
    return _mean(reference[cell] - cells[cell] for cell in both)


def forward_transfer(probes: Mapping[int, float], plain: Mapping[int, float]) -> float | None:
    """Return (1/(T-1)) Σ_{i>1} (P[i-1, i] - P[0, i]), as linear probes measure it (Chen et al., Is forgetting less a
    good inductive bias for forward transfer?, 2023). It is positive where earlier tasks made the features of a new task
    better.

    Args:
        probes: by task, the accuracy of a linear probe on the features just before the task is learned.
        plain: the same on the features before anything was learned.
    """
    return _mean(probes[task] - plain[task] for task in sorted(probes) if task in plain)


def _last_row(cells: Cells, tasks: int) -> dict[int, float]:
    return dict(sorted((j, value) for (i, j), value in cells.items() if i == tasks - 1))


def _over_earlier_tasks(cells: Cells, tasks: int, changes: Mapping[int, float]) -> float | None:
    """Return the mean change of the earlier tasks; 0 for a stream of one measured task, None where nothing is known."""
    if tasks == 1 and cells:
        return 0.0
    return _mean(change for j, change in changes.items() if j < tasks - 1)


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
