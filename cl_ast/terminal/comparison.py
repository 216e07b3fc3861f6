"""What `compare` does with its options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ast.terminal.learning import LearnOptions, load, pooling, recipe_on

if TYPE_CHECKING:
    from cl_ast.manager import Manager
    from cl_ast.terminal.watching import Watch


def compare_methods(
    manager: Manager,
    watch: Watch,
    task: str,
    specs: Sequence[str],
    options: LearnOptions,
    *,
    seeds: int,
    data: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """A row a method, when it is done; every row of the table but `full` for no specs."""
    from cl_ast.adapters.spec import parse
    from cl_ast.comparing import compare

    table = manager.methods
    methods = [parse(spec, table) for spec in specs or [name for name, row in table.items() if row.trains != "trunk"]]
    if options.from_layer is not None:  # of those that have adapters; the others stay to be compared with
        methods = [parse(one.text, table, from_layer=options.from_layer) if one.placements else one for one in methods]
    loaded = load(watch, task, options, data=data)
    watch.say(f"{loaded.name}: {len(methods)} methods, {seeds} trainings of each; {loaded.protocol}")
    found = compare(
        loaded,
        manager.backbone,
        methods,
        options.training(recipe_on(manager, loaded)),
        seeds=seeds,
        pooling=pooling(manager, options),
        positions=options.positions,
        report=watch,
        say=watch.say,
    )
    return (one.to_json() for one in found)
