"""The public surface: light imports, imports in one direction, and one tree of errors."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cl_ast
from cl_ast import errors

ROOT = Path(cl_ast.__file__).parent.parent
OURS = {"cli", "cl_ast", "registry", "streams"}


@pytest.mark.parametrize(
    "module",
    [
        "cl_ast",
        "cl_ast.errors",
        "cl_ast.evaluation.statistics",
        "cl_ast.evaluation.metrics",
        "registry",
        "streams",
    ],
)
def test_it_is_imported_without_torch(module: str) -> None:
    script = f"import sys, {module}; print(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_error_is_a_cl_ast_error_and_drawn_in_the_tree() -> None:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert len(found) > 5
    for kind in found:
        assert issubclass(kind, errors.ClAstError)
        assert kind.__name__ in (errors.__doc__ or "")
        assert kind.__doc__


# Imports go one way: cli -> cl_ast -> registry, streams


def _imports(path: Path, package: str) -> Iterator[str]:
    """Every module of ours that a file imports, wherever in it, as a full dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: 1 - node.level or None], *([base] if base else [])])
            yield base
            # `from cl_ast import manager` imports a module too.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _edges(package: str) -> list[tuple[str, str]]:
    place = ROOT / package
    files = sorted(place.rglob("*.py")) if place.is_dir() else [ROOT / f"{package}.py"]
    assert files
    found = []
    for file in files:
        parent = ".".join(file.relative_to(ROOT).parent.parts)
        found += [(str(file.relative_to(ROOT)), name) for name in _imports(file, parent) if name.split(".")[0] in OURS]
    return found


@pytest.mark.parametrize(("package", "other"), [("registry", "streams"), ("streams", "registry")])
def test_registry_and_streams_know_neither_each_other_nor_the_model_side(package: str, other: str) -> None:
    edges = _edges(package)
    assert any(name.startswith(package) for _, name in edges)  # the search does find imports
    for file, name in edges:
        assert name.split(".")[0] not in {other, "cli"}, f"{file} imports {name}"
        if name.split(".")[0] == "cl_ast":
            assert name.startswith("cl_ast.errors"), f"{file} imports {name}"


def test_the_model_side_does_not_know_the_command_line() -> None:
    edges = _edges("cl_ast")
    assert {"registry", "streams"} <= {name.split(".")[0] for _, name in edges}
    for file, name in edges:
        assert name.split(".")[0] != "cli", f"{file} imports {name}"


def test_the_backbone_and_the_adapters_know_nothing_of_tasks_data_or_storage() -> None:
    """What may be taken out and used alone."""
    for file, name in _edges("cl_ast"):
        alone = {"audio.py", "frontend.py", "waveform.py", "frontends.py", "backbone.py", "sites.py", "metrics.py"}
        if Path(file).name in alone or "adapters" in file or "backbones" in file:
            assert name.split(".")[0] == "cl_ast", f"{file} imports {name}"
            assert not name.startswith(("cl_ast.manager", "cl_ast.training", "cl_ast.terminal")), f"{file}: {name}"


@pytest.mark.parametrize("package", ["cl_ast", "registry", "streams"])
def test_every_module_can_be_imported_alone_and_says_what_it_is(package: str) -> None:
    for file in sorted((ROOT / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        assert importlib.import_module(name).__doc__, name
