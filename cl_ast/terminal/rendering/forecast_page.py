"""Shows what adding a task would take."""

from rich.console import Group, RenderableType

from cl_ast.continual.forecast import Forecast
from cl_ast.terminal.rendering.layout import Breakable, EscapedTable, bare, line
from cl_ast.wording import duration, plural, size

_MOST_CLASSES = 60  # that are listed one by one


def forecast(one: Forecast) -> RenderableType:
    """Return the page: the clips of each class and split, and then what is trained, how long, and how large."""
    facts = EscapedTable.grid(padding=(0, 2))
    steps = f"{plural(one.steps, 'step')} of {plural(one.batch_size, 'clip')}"
    per_step = f"{1000 * one.seconds_per_step:.0f} ms" if one.seconds_per_step < 1 else f"{one.seconds_per_step:.1f} s"
    memory = f"about {size(one.memory_bytes)}" if one.memory_bytes is not None else "unknown"
    if one.device_memory_bytes is not None:
        memory += f", and {size(one.device_memory_bytes)} of the GPU"
    rows: list[tuple[str, RenderableType]] = [
        ("task", one.task),
        ("split", one.protocol),
        *(("note", note) for note in one.notes),
        ("hears", f"{one.seconds_taken:g} s of a clip"),
        ("backbone", one.backbone),
        ("method", Breakable(one.method)),
        ("parameters", f"{one.trainable_parameters:,}"),
        ("size", f"about {size(one.bytes)}"),
        ("training", f"{plural(one.epochs, 'epoch')}, {steps} on {one.device}"),
        ("time", f"about {duration(one.training_seconds)} ({per_step} per step); routing and measuring come on top"),
        ("memory", memory),
    ]
    for name, value in rows:
        facts.add_row(line(name, "bold"), value)
    return Group(_splits(one), "", facts, "", line("nothing was written; leave out --dry-run to train it"))


def _splits(one: Forecast) -> RenderableType:
    """Return a row for each class, and one for all; of very many classes only the latter."""
    table = bare("class", *one.splits)
    for column in table.columns[1:]:
        column.justify = "right"
    labels = list(next(iter(one.splits.values())))
    for label in labels if len(labels) <= _MOST_CLASSES else []:
        table.add_row(label, *(str(counts[label]) for counts in one.splits.values()))
    table.add_row(f"all {len(labels)}", *(str(count) for count in one.clips.values()))
    return table
