"""Every command of the Start and Guides pages is run on small data, or its page says why not; all others are parsed."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
import yaml
from click.testing import CliRunner

import cli
from cl_ast.backbone import pretrained
from cl_ast.training import recipes
from registry import Registry
from tests.cli.sounds import SOUNDS, hiss_and_clicks, write_clips

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
JSON_PAGE = (DOCS / "json.md").read_text(encoding="utf-8")
NAV = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted(DOCS.glob("*.md")))]
COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*cl-ast(?: |$)")
NOT_RUN = re.compile(r"<!-- not run: ([^>]+) -->")


def _guides() -> list[str]:
    (guides,) = (part["Guides"] for part in NAV if "Guides" in part)
    return [f"docs/{name}" for entry in guides for name in entry.values()]


@dataclass(frozen=True)
class Line:
    """A command as a page shows it, without its comment; `why_not` if the page says that no test can run it."""

    text: str
    why_not: str | None

    @property
    def words(self) -> list[str]:
        """What follows `cl-ast`, as a shell reads it."""
        words = shlex.split(self.text, comments=True)
        return words[words.index("cl-ast") + 1 :]


def _lines(page: str) -> Iterator[Line]:
    """Yield the commands in the code blocks of a page. A mark before a block is about all of the block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).replace("\\\n", " ")
    for block in re.finditer(r"((?:^<!--[^>]+-->\n+)?)((?:^ {4}.*\n+)+)", text, re.MULTILINE):
        mark = NOT_RUN.search(block[1])
        for line in block[2].splitlines():
            shown = line.strip().removeprefix("$ ")
            if COMMAND.match(shown) or "| cl-ast" in shown:
                yield Line(shown, mark[1] if mark else None)


def _said_inline(page: str) -> Iterator[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    yield from (" ".join(found.split()) for found in re.findall(r"`(cl-ast [^`]+)`", text))


def _examples() -> Iterator[str]:
    for command in cli.main.commands.values():
        yield from re.findall(r"^\s*(cl-ast .+)$", command.help or "", re.MULTILINE)


def _parse(words: list[str]) -> None:
    """Raise UsageError where a command or an option is not there; values are not looked at."""
    group = click.Context(cli.main, info_name="cl-ast")
    _, rest, _ = cli.main.make_parser(group).parse_args(list(words))
    if not rest or rest[0] in ("COMMAND", "…"):
        return
    command = cli.main.get_command(group, rest[0])
    if command is None:
        raise click.UsageError(f"there is no command {rest[0]}")
    command.make_parser(click.Context(command, parent=group, info_name=rest[0])).parse_args(rest[1:])


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_that_a_page_shows_is_there(page: str) -> None:
    for text in [*(line.text for line in _lines(page)), *_said_inline(page)]:
        _parse(Line(text.partition("|")[2].strip() or text if "| cl-ast" in text else text, None).words)


def test_every_example_of_the_help_can_be_parsed() -> None:
    examples = list(_examples())
    assert len(examples) > 2 * len(cli.main.commands)
    for text in examples:
        _parse(Line(text, None).words)


def test_a_command_or_an_option_that_is_not_there_is_found() -> None:
    for words in (["predct", "clip.wav"], ["predict", "clip.wav", "--windows", "2"], ["--register", "x", "tasks"]):
        with pytest.raises(click.UsageError):
            _parse(words)


@pytest.fixture
def scene(tmp_path: Path, stages: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the guides name: recordings, folders of clips, and a registry of the task `birds`."""
    home = tmp_path / "scene"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("CL_AST_REGISTRY", "my-registry")
    monkeypatch.setattr(recipes, "_FOLDER", replace(recipes._FOLDER, epochs=1))
    shutil.copytree(stages["chirps"], home / "my-registry")
    with Registry.open(home / "my-registry") as registry:
        for old, new in (("noises", "birds"), ("tones", "rain")):
            registry.rename(old, new)
    sound = hiss_and_clicks()
    for name in ("dawn.flac", "long.flac", "clip.wav", "recordings/a.wav", "week/a.wav", "nights-without-birds/a.wav"):
        (home / name).parent.mkdir(exist_ok=True)
        soundfile.write(home / name, sound if name != "clip.wav" else sound[:8_000], 16_000)
    quiet = 1e-3 * np.random.default_rng(0).normal(size=30 * 16_000)
    soundfile.write(home / "nights-without-birds/b.wav", quiet.astype(np.float32), 16_000)
    soundfile.write(home / "negatives.wav", quiet.astype(np.float32), 16_000)
    (home / "negatives").mkdir()
    shutil.move(home / "negatives.wav", home / "negatives" / "a.wav")
    (home / "labels").mkdir()
    (home / "labels" / "a.txt").write_text("0\t1\thiss\n2\t3\tclicks\n")
    for name in ("path/to/clips", "path/to/recordings-of-birds", "clips"):
        write_clips(home / name, SOUNDS["noises"], 12, seed=len(name))
    return home


def _run_all(page: str, backbone: Path) -> None:
    """Run the commands of a page in their order, over the tiny backbone in the place of ast-mini."""
    for line in _lines(page):
        if line.why_not is None:
            words = [str(backbone) if word == "ast-mini" else word for word in line.words]
            done = CliRunner().invoke(cli.main, ["--device", "cpu", *words], prog_name="cl-ast")
            assert done.exit_code == 0, (line.text, done.output)


@pytest.mark.slow
@pytest.mark.parametrize("page", _guides())
def test_the_commands_of_a_guide_work(page: str, scene: Path, backbone: Path) -> None:
    _run_all(page, backbone)


@pytest.mark.slow
def test_the_first_ten_minutes_work(
    short_demo: None, tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "MINI_FOLDER", backbone)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_AST_REGISTRY", "cl-ast-demo/registry")  # as the page's export
    _run_all("docs/start.md", backbone)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_python_of_a_page_works(page: str, scene: Path, backbone: Path) -> None:
    (code,) = re.findall(r"^```python\n(.+?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for name in ("recording.wav", "other.wav"):
        shutil.copy("clip.wav", name)
    exec(compile(code.replace("ast-mini", str(backbone)), page, "exec"), {})
    with Registry.open("my-registry") as registry:
        assert "clips" in [task.name for task in registry.tasks()]


def test_what_the_guides_do_not_run_has_a_reason() -> None:
    lines = [line for page in [*_guides(), "docs/start.md"] for line in _lines(page)]
    skipped = [line for line in lines if line.why_not is not None]
    assert len(lines) > 45 and len(lines) - len(skipped) > 25
    assert all(len(line.why_not or "") > 10 for line in skipped)


def _same_shape(shown: object, real: object, where: str) -> None:
    """Check that what a page shows of JSON has the keys of the real one; the key "…" stands for more of them."""
    if isinstance(shown, dict):
        assert isinstance(real, dict), where
        keys = set(shown) - {"…"}
        assert keys <= set(real) and ("…" in shown or keys == set(real)), (where, keys ^ set(real))
        for key in keys:
            _same_shape(shown[key], real[key], f"{where}.{key}")
    elif isinstance(shown, list) and shown:
        assert isinstance(real, list) and real, where
        _same_shape(shown[0], real[0], where)
    else:
        kinds = (int, float) if isinstance(shown, int | float) and not isinstance(shown, bool) else type(shown)
        assert real is None or shown is None or isinstance(real, kinds), where


@pytest.mark.slow
def test_the_page_of_json_shows_what_commands_print(scene: Path) -> None:
    shown = re.findall(r"^ {4}cl-ast ([^\n]+)\n\n```json\n(.+?)```", JSON_PAGE, re.DOTALL | re.MULTILINE)
    assert len(shown) == 6
    for words, example in shown:
        done = CliRunner().invoke(cli.main, ["--device", "cpu", "-q", *shlex.split(words)], prog_name="cl-ast")
        assert done.exit_code == 0, done.output
        _same_shape(json.loads(example), json.loads(done.stdout), words)
