"""`cl-ast methods`"""

from __future__ import annotations

import click

from cl_ast.terminal.output import print_json, print_text, table_or


@click.command("methods")
@click.argument("specs", nargs=-1, metavar="[SPEC...]")
@click.option("--backbone", default="ast-base", show_default=True, help="The backbone to count for.")
@click.option("--classes", type=click.IntRange(2), help="Count a head for this many classes where it is stored.")
@table_or("json", "csv")
def methods(specs: tuple[str, ...], backbone: str, classes: int | None, kind: str) -> None:
    """List every method, or these, with its parameters.

    Of methods that are named, it also says in plain words what they do. The table has the trainable parameters (of the
    adapter; `linear` counts its head, given --classes), size per task in single precision, and the source. Needs no
    weights.

    \b
    cl-ast methods
    cl-ast methods conformer:houlsby,k=8 lora:qkvo,r=3 --format json
    """
    from cl_ast.adapters.listing import rows
    from cl_ast.adapters.plain_words import explained
    from cl_ast.adapters.spec import parse
    from cl_ast.backbone.pretrained import sizes

    parsed = [parse(spec) for spec in specs]
    found = rows(specs, *sizes(backbone), classes=classes)
    if kind == "json":
        print_json(found)
    elif kind == "csv":
        from cl_ast.terminal.rendering.formats import as_csv

        print_text(as_csv(found))
    else:
        from cl_ast.terminal.rendering import tables

        said = dict.fromkeys(line for spec in parsed for line in explained(spec))
        tables.show(*said, *([""] if said else []), tables.methods(found))
