"""What is installed is complete, holds nothing else, and works away from the source."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cl_ast", "registry", "streams")
NEW_ENOUGH = (70, 1)  # setuptools that makes wheels by itself

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        tuple(map(int, version("setuptools").split(".")[:2])) < NEW_ENOUGH,
        reason="this setuptools makes no wheels: pip install 'setuptools>=77'",
    ),
]


def call(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Installed:
    """An installed wheel with its dependencies and without the source; called, it runs Python in another folder."""

    target: Path
    env: dict[str, str]
    elsewhere: Path

    def __call__(self, *words: object) -> str:
        return call("-S", "-P", *words, cwd=self.elsewhere, env=self.env)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of everything at the top: the build leaves files beside the source."""
    home = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__", "cl-ast-demo")
    shutil.copytree(ROOT, home / "source", ignore=left_out)
    # What pip calls to build it; pip would start Python three times.
    build = "import sys\nfrom setuptools import build_meta\nbuild_meta.build_wheel(sys.argv[1])"
    call("-c", build, home, cwd=home / "source")
    (built,) = home.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """Every file in the wheel, but for what it says of itself."""
    with zipfile.ZipFile(wheel) as file:
        return {name for name in file.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return installed("-c", code), which runs the code as `Installed` does."""
    target = tmp_path_factory.mktemp("site")
    call("-m", "pip", "install", wheel, "--target", target, "--no-deps", "--no-index", "--no-compile", "--quiet")
    # -S: site-packages without the .pth files, one of which leads to the source.
    paths = [target, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "HF_HUB_OFFLINE": "1"}
    return Installed(target, env, tmp_path_factory.mktemp("elsewhere"))


def test_top_level_names(names: set[str]) -> None:
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, "cli.py"}


def test_every_module_and_every_data_file_is_there(names: set[str]) -> None:
    source = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in source if path.suffix != ".pyc"}
    assert wanted | {"cli.py"} == names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_nothing_else_is_in_it(names: set[str]) -> None:
    assert not [name for name in names if "test" in name or "benchmark" in name or "conftest" in name]


def test_imports_come_from_what_is_installed(installed: Installed) -> None:
    out = installed(
        "-c", "import cl_ast, registry, streams, cli\nfor m in (cl_ast, registry, streams, cli): print(m.__file__)"
    )
    places = [Path(line) for line in out.splitlines()]
    assert len(places) == 4
    assert all(place.is_relative_to(installed.target) for place in places)


def test_the_command_works_away_from_the_source(installed: Installed, tmp_path: Path) -> None:
    assert "add-task" in installed("-m", "cli", "--help")
    # Commands that need torch, in one process, which has to import it.
    code = """
import sys, cli
from cl_ast.backbone.pretrained import load
from registry import Registry
Registry.open(sys.argv[1]).close()
for words in (["--registry", sys.argv[1], "stats"], ["methods", "bottleneck"], ["--version"]):
    cli.main(words, standalone_mode=False)
    print("next")
print(load("ast-mini").parameters)
"""
    stats, methods, named, parameters = installed("-c", code, tmp_path / "new").split("next\n")
    assert "add-task" in stats
    assert "248,976" in methods
    assert named.split()[-1] == version("cl-ast")
    assert int(parameters) > 0  # of the packaged backbone


def test_the_command_is_called_cl_ast(installed: Installed) -> None:
    (entries,) = installed.target.glob("*.dist-info/entry_points.txt")
    assert "cl-ast = cli:main" in entries.read_text()
