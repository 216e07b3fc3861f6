"""The public surface: light imports, imports in one direction, and one tree of errors."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
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
        "cl_ast.serving.listener",
        "registry",
        "streams",
    ],
)
def test_it_is_imported_without_torch(module: str) -> None:
    script = f"import sys, {module}; print(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_error_is_a_cl_ast_error_and_drawn_in_the_tree() -> None:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    found = [kind for kind in classes if not issubclass(kind, Warning)]
    assert len(found) > 5
    for kind in found:
        assert issubclass(kind, errors.ClAstError)
        assert kind.__name__ in (errors.__doc__ or "")
        assert kind.__doc__


# Imports go one way. Packages of one row know nothing of each other; each row may import from those below it.

ORDER = (
    {"cli", "cl_ast.__main__"},
    {"cl_ast.terminal"},
    {"cl_ast.serving"},
    {"cl_ast.reporting"},
    {"cl_ast.baselines"},
    {"cl_ast.experiments"},
    {"cl_ast.manager", "cl_ast.checkpoints"},
    {"cl_ast.continual", "cl_ast.sharing"},
    {"cl_ast.evaluation", "cl_ast.cluster", "cl_ast.events"},
    {"cl_ast.training", "cl_ast.inference"},
    {"cl_ast.tasks"},
    {"cl_ast.adapters", "cl_ast.router", "cl_ast.pretrain"},
    {"cl_ast.backbone"},
    {"cl_ast.audio", "registry", "streams", "cl_ast.tabular"},
    {
        "cl_ast.errors",
        "cl_ast.escaping",
        "cl_ast.progress",
        "cl_ast.batching",
        "cl_ast.environment",
        "cl_ast.excerpts",
        "cl_ast.caches",
        "cl_ast.wording",
    },
)
PLACES = {name: row for row, names in enumerate(ORDER) for name in names}
# Whose door is what it is: importing the package `cl_ast` loads nothing of it.
DOOR = "cl_ast"


def _imports(path: Path) -> Iterator[str]:
    """Yield every module of ours that a file imports, wherever in it, as a full dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in OURS)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            base = node.module or ""
            if base.split(".")[0] in OURS:
                # `from cl_ast import manager` imports a module too.
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _package(module: str) -> str:
    """Return the package of `ORDER` that a module is in."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "cl_ast" and len(parts) > 1 else parts[0]


def _modules() -> list[tuple[str, Path]]:
    found = [("cli", ROOT / "cli.py")]
    for top in ("cl_ast", "registry", "streams"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append((".".join(part for part in parts if part != "__init__"), path))
    return found


def test_every_module_has_a_place_in_the_order() -> None:
    packages = {_package(name) for name, _ in _modules()} - {DOOR}
    assert packages == set(PLACES)


@pytest.mark.slow
def test_imports_go_one_way() -> None:
    arrows = 0
    for name, path in _modules():
        if name == DOOR:
            continue
        here = _package(name)
        for imported in _imports(path):
            there = _package(imported)
            if there in (here, DOOR):
                continue
            arrows += 1
            assert PLACES[there] > PLACES[here], f"{path.relative_to(ROOT)} imports {imported}"
    assert arrows > 200  # The search does find imports.


@pytest.mark.slow
def test_no_modules_of_a_package_import_each_other_in_a_circle() -> None:
    names = {name for name, _ in _modules()}

    def target(imported: str) -> str | None:
        """Return the module that `from a.b import c` means: a.b.c where that is one, else a.b."""
        found = imported if imported in names else imported.rpartition(".")[0]
        return found if found in names else None

    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, path in _modules():
        # A package's door imports its modules, so they must not import from the door.
        sorter.add(name, *{there for one in _imports(path) if (there := target(one)) not in (None, name, DOOR)})
    sorter.prepare()  # raises CycleError, naming the circle


def test_top_level_is_as_it_was_agreed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    tops = {line.partition("/")[0] for line in tracked.stdout.splitlines()}
    assert {"cl_ast", "registry", "streams", "tests", "cli.py", "pyproject.toml", "README.md"} <= tops
    assert {name for name in tops if name.endswith(".py")} == {"cli.py"}
    folders = {name for name in tops if (ROOT / name).is_dir()}
    assert folders == {"cl_ast", "registry", "streams", "tests", "benchmarks", "docs", "examples", ".ci", ".github"}


@pytest.mark.parametrize("package", ["cl_ast", "registry", "streams"])
def test_every_module_can_be_imported_alone_and_says_what_it_is(package: str) -> None:
    for name, _ in _modules():
        if name.split(".")[0] == package:
            assert importlib.import_module(name).__doc__, name


def test_tests_mirror_the_packages() -> None:
    places = {path.parent.name for path in (ROOT / "tests" / "cl_ast").glob("*/test_*.py")}
    assert places <= {name.removeprefix("cl_ast.") for name in PLACES}
