"""What an encoding cannot hold is escaped: no answer is lost after the work, whatever a file or a label is called."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Fork

pytestmark = pytest.mark.slow

ENCODINGS = ["utf-8:strict", "cp1252", "cp437", "latin-1", "ascii", "koi8-r", "shift_jis"]
COMMANDS = [("show", "tones"), ("stats",), ("show", "tones", "--format", "json")]
Output = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def output(registry: Path, fork: Fork) -> Output:
    """output(encoding, "show", "tones"): what a process of its own writes under that encoding, in bytes."""

    def run(encoding: str, *words: object) -> subprocess.CompletedProcess[bytes]:
        process = fork(registry, *words, env=os.environ | {"PYTHONIOENCODING": encoding})
        out, err = (os.fsencode(text) for text in process.communicate())
        return subprocess.CompletedProcess([], process.wait(), out, err)

    return run


@pytest.mark.parametrize("encoding", ["utf-8:strict", "cp1252", "ascii"])
def test_python_sets_the_encoding_and_the_command_ends_well(registry: Path, encoding: str) -> None:
    """In a process that the system starts; those of the other tests set it as Python does."""
    code = "import cli; cli.main(prog_name='cl-ast')"
    command = [sys.executable, "-c", code, "--registry", str(registry), "tasks"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert b"tones" in done.stdout


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_well_under_every_encoding(output: Output, encoding: str, command: tuple[str, ...]) -> None:
    done = output(encoding, *command)
    assert done.returncode == 0, done.stderr
    assert b"tones" in done.stdout
    if "json" in command:
        assert json.loads(done.stdout.decode(encoding.partition(":")[0]))["name"] == "tones"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, bytes]:
    """Clips under names that some encoding cannot hold, or that are no text at all."""
    folder = os.fsencode(tmp_path_factory.mktemp("odd"))
    names = {"latin": b"caf\xe9.wav", "japanese": "日本語.wav".encode(), "emoji": "🐕.wav".encode(),
             "combining": "cafe\u0301.wav".encode(), "bytes": b"\xff\xfe\x80.wav"}  # fmt: skip
    clip = (data / "tones" / "low" / "00.wav").read_bytes()
    for name in names.values():
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(clip)
    return {name: folder + b"/" + path for name, path in names.items()}


@pytest.mark.parametrize("encoding", ["utf-8:strict", "cp1252", "ascii"])
@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_clip_of_any_name_is_answered_in_every_format(
    output: Output, odd: dict[str, bytes], encoding: str, kind: str
) -> None:
    done = output(encoding, "predict", *odd.values(), "--format", kind, "--task", "tones")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"low") >= len(odd)
    if kind == "json":  # the paths can be used as they were printed
        answers = json.loads(done.stdout.decode(encoding.partition(":")[0]))
        assert [os.fsencode(answer["path"]) for answer in answers] == list(odd.values())


def test_a_name_that_is_no_text_is_escaped(output: Output, odd: dict[str, bytes]) -> None:
    """A byte from 0x80 to 0x9f would be a command to some terminals. JSON has the name as it is."""
    done = output("utf-8:strict", "predict", odd["bytes"], "--format", "csv", "--task", "tones")
    assert odd["bytes"].replace(b"\xff\xfe\x80", rb"\udcff\udcfe\udc80") in done.stdout
    gone = odd["latin"].replace(b"caf\xe9", b"gone\xe9")
    shown = gone.replace(b"\xe9", rb"\udce9")
    assert shown in output("utf-8:strict", "predict", gone, "--task", "tones").stderr


def test_json_stays_readable_where_it_can(output: Output, odd: dict[str, bytes]) -> None:
    assert "日本語".encode() in output("utf-8", "predict", odd["japanese"], "--format", "json").stdout
    assert b"\\u65e5" in output("ascii", "predict", odd["japanese"], "--format", "json").stdout
