"""The modules of streams import each other in one direction only."""

import ast
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import streams

FOLDER = Path(streams.__file__).parent
Graph = Mapping[str, Iterable[str]]


def imported(source: str, modules: set[str]) -> set[str]:
    """Return the modules of streams that a source imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or "streams"
            if node.level and node.module:  # `from .split import ...`
                base = f"streams.{node.module}"
            # `from streams import split` imports the module, `from streams import load` the package itself.
            submodules = [f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in modules]
            names = submodules or [base]
        else:
            continue
        found.update(name for name in names if name in modules)
    return found


def import_graph() -> dict[str, set[str]]:
    files = {
        "streams" if path.stem == "__init__" else f"streams.{path.stem}": path.read_text(encoding="utf-8")
        for path in FOLDER.glob("*.py")
    }
    return {name: imported(source, set(files)) for name, source in files.items()}


def circle_in(graph: Graph) -> list[str]:
    """Return the modules of one circle of imports, or nothing if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_two_modules_import_each_other() -> None:
    graph = import_graph()
    assert "streams.loading" in graph["streams"]
    assert "streams.download" in graph["streams.find_data"], "imports inside functions count"
    assert circle_in(graph) == []


def test_a_circle_through_a_function_is_found() -> None:
    modules = {"streams", "streams.a", "streams.b"}
    sources = {
        "streams.a": "from streams.b import thing",
        "streams.b": "def late():\n    from streams import a\n    return a",
    }
    graph = {name: imported(source, modules) for name, source in sources.items()}
    assert set(circle_in(graph)) == {"streams.a", "streams.b"}
    assert imported("from . import a\nfrom .b import x\nimport streams.a", modules) == {"streams.a", "streams.b"}
    assert imported("from streams import load", modules) == {"streams"}
