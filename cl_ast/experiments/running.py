"""Runs a grid: trains the cells whose results are not there yet, and writes each when it is done."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cl_ast.adapters.spec import Cost, MethodSpec, cost, owned
from cl_ast.backbone.backbone import Backbone
from cl_ast.environment import package_versions
from cl_ast.experiments.bootstrap import Right
from cl_ast.experiments.cells import CellTrainer, Outcome, completed
from cl_ast.experiments.grid import Cell, Grid, Line
from cl_ast.experiments.results import Results, Row, Value
from cl_ast.progress import Progress, silent
from cl_ast.training.engine import Engine
from cl_ast.wording import duration, plural

KEYS = ("task", "data", "backbone", "method", "settings", "fold", "K", "seed")
VALUES = (
    "what", "parameters", "bytes", "validation", "test", "n", "correct", "seconds", "versions", "reason"
)  # fmt: skip
_DIGITS = 12  # of a fingerprint


class GridResults:
    """The results of a grid in a folder, which may have those of other grids too. To be used as a context manager."""

    def __init__(self, folder: Path, grid: Grid, backbone: Backbone, what: str = "compare") -> None:
        """Open the file, or make it.

        Args:
            what: the name of the experiment, for the lines that are written.

        Raises:
            ClAstError: see `Results`.
            StreamError: a clip is gone.
        """
        self.grid = grid
        self.backbone = backbone
        self._what = what
        # What the clips are is part of a cell's key: where they have changed, it is trained again.
        self._data = {
            (name, fold): task.fingerprint()[:_DIGITS]
            for name, folds in grid.tasks.items()
            for fold, task in folds.items()
        }
        self._file = Results(folder, KEYS, VALUES)
        self._rows = self._file.latest()

    def __enter__(self) -> "GridResults":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.__exit__(None, None, None)

    def found(self, cell: Cell) -> Row | None:
        """Return the line of a cell, which may say that it failed; None if it was never trained."""
        return self._rows.get(self._file.key_of(self._key(cell)))

    def is_done(self, cell: Cell) -> bool:
        """Return whether the cell has an accuracy. One that failed is tried again."""
        row = self.found(cell)
        return row is not None and not row["reason"]

    def write(self, cell: Cell, outcome: Outcome) -> None:
        """Write the line of a cell."""
        price = self.price(cell.task, cell.method)
        done = not outcome.error
        row: dict[str, Value] = {
            **self._key(cell),
            "what": self._what,
            "parameters": price.trainable_parameters,
            "bytes": price.bytes,
            "validation": outcome.validation if done else None,
            "test": outcome.accuracy if done else None,
            "n": len(outcome.right) if done else None,
            "correct": bits_of(outcome.right),
            "seconds": outcome.seconds if done else None,
            "versions": " ".join(f"{package}={version}" for package, version in package_versions().items()),
            "reason": outcome.error,
        }
        written = self._file.append(row)
        self._rows[self._file.key_of(row)] = written

    def price(self, task: str, method: MethodSpec) -> Cost:
        """Return the parameters that a method trains on a task, and the size of the task's file without its header."""
        fold, one = next(iter(self.grid.tasks[task].items()))
        _, pooling = completed(self.grid, Cell(task, fold, method, None, 0), self.backbone)
        return cost(
            method,
            self.backbone.shape,
            classes=len(one.labels),
            backbone_parameters=self.backbone.parameters,
            pooling=pooling,
        )

    def _key(self, cell: Cell) -> dict[str, Value]:
        return {
            "task": cell.task,
            "data": self._data[cell.task, cell.fold],
            "backbone": f"{self.backbone.name} {self.backbone.fingerprint[:_DIGITS]}",
            "method": cell.method.text,
            "settings": self.grid.settings_of(cell),
            "fold": cell.fold,
            "K": cell.few_shot,
            "seed": cell.seed,
        }


def run(
    results: GridResults,
    *,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
    engine: Engine | None = None,
    device: str = "auto",
) -> Iterator[Line]:
    """Train every cell that has no accuracy yet, and yield each line of the grid when all its cells are there.

    A cell that fails is written with its reason, and the others go on.

    Args:
        say: called with a line about each training that is done.
        engine: trains the cells, perhaps several at once; None trains them one by one on the backbone.
        device: of the engine's processes, which load the backbone by its name.

    Raises:
        MethodError: a method does not fit the backbone; nothing is trained then.
        ClAstError: a result cannot be written.
    """
    grid, backbone = results.grid, results.backbone
    for variant in grid.variants:
        for spec in variant.specs.values():
            owned(spec, backbone.shape)
    cells = grid.cells()
    missing = [cell for cell in cells if not results.is_done(cell)]
    if len(missing) < len(cells):
        say(f"{len(cells) - len(missing)} of {len(cells)} trainings are done already")
    left = set(missing)
    waiting = {n: (line, left.intersection(grid.cells_of(line))) for n, line in enumerate(grid.lines())}
    yield from _finished(waiting)
    outcomes: Iterator[Outcome]
    if engine is None:
        outcomes = map(CellTrainer(grid, backbone, progress=progress), missing)
    else:
        outcomes = engine.map(CellTrainer(grid, backbone.name, device=device), missing, progress)
    for done, (cell, outcome) in enumerate(zip(missing, outcomes, strict=True), 1):
        results.write(cell, outcome)
        say(f"{_said(grid, cell, outcome)}; {len(missing) - done} to go")
        for _, cells_left in waiting.values():
            cells_left.discard(cell)
        yield from _finished(waiting)


def _finished(waiting: dict[int, tuple[Line, set[Cell]]]) -> Iterator[Line]:
    """Take the lines that wait for no cell any more out of the others, and yield them."""
    for n, (line, cells) in list(waiting.items()):
        if not cells:
            del waiting[n]
            yield line


def _said(grid: Grid, cell: Cell, outcome: Outcome) -> str:
    """Return what is said of a cell that is done, with those of its coordinates in which the cells differ."""
    parts = [
        f"{cell.task}, " if len(grid.tasks) > 1 else "",
        f"fold {cell.fold}, " if len(grid.tasks[cell.task]) > 1 else "",
        cell.method.text,
        f", {plural(cell.few_shot, 'clip')} per class" if len(grid.few_shot) > 1 and cell.few_shot else "",
    ]
    name = "".join(parts)
    if outcome.error:
        return f"{name}, seed {cell.seed}: {outcome.error}"
    return f"{name}, seed {cell.seed}: {outcome.accuracy:.1%} in {duration(outcome.seconds)}"


def bits_of(right: tuple[bool, ...]) -> str:
    """Return which clips were right as hexadecimal digits, the first clip being the highest bit of the first digit."""
    return np.packbits(np.array(right, dtype=bool)).tobytes().hex()


def right_of(row: Row) -> Right:
    """Return (clips,), which test clips of a finished cell were right."""
    found = np.frombuffer(bytes.fromhex(row["correct"]), dtype=np.uint8)
    return np.unpackbits(found, count=int(row["n"])).astype(bool)
