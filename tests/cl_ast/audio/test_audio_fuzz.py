"""Audio files mutated at random, of every container that libsndfile writes, through `predict`.

Each is answered or named in one line, within bounds of memory and time, and every healthy clip beside it is answered.
CL_AST_FUZZ_AUDIO=2000 sets how many; a test run does a hundred or two.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from audio_files import encoded, tone, writable
from limits import MOST_BYTES, MOST_SECONDS

from cl_ast.audio import reading
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import AudioError
from cl_ast.tasks.task_model import TaskModel
from registry import BackboneRecord, Registry
from tests.cl_ast.conftest import commit_model

FILES = int(os.environ.get("CL_AST_FUZZ_AUDIO", "150"))
BATCH = 1000  # that one process answers, which starts for seconds
NUMBERS = [
    bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\x80", b"\0\0\1\0",
    b"\0\1\0\0", b"\1\0\0\0", b"\xfe\xff\xff\xff",
]  # fmt: skip


@pytest.fixture(scope="module")
def seeds() -> list[bytes]:
    """Healthy clips: each container and codec, mono and stereo."""
    found = []
    for form, subtype in writable():
        found.append(encoded(tone(0.5), form, subtype))
        if _has_stereo(form, subtype):
            found.append(encoded(np.stack([tone(0.3), tone(0.3, 900)], axis=1), form, subtype))
    return found


def _has_stereo(form: str, subtype: str) -> bool:
    try:
        encoded(np.zeros((100, 2), np.float32), form, subtype)
    except Exception:  # libsndfile has several ways to say so
        return False
    return True


def mutated(seed: bytes, seeds: list[bytes], dice: random.Random) -> bytes:
    """Return a file with bytes changed, cut out, put in or joined on; most of it happens in the header."""
    out = bytearray(seed)
    for _ in range(dice.choice([1, 1, 2, 4, 16])):
        if not out:
            break
        at = dice.randrange(min(len(out), dice.choice([64, 256, len(out)])))
        match dice.randrange(7):
            case 0:
                out[at] ^= 1 << dice.randrange(8)
            case 1:
                out[at] = dice.randrange(256)
            case 2:
                out[at : at + 4] = dice.choice(NUMBERS)
            case 3:
                del out[at : at + dice.choice([1, 4, 100, len(out)])]
            case 4:
                out[at:at] = dice.randbytes(dice.choice([1, 4, 100, 5_000]))
            case 5:
                out[at:at] = bytes(dice.choice([1, 7, 1_024]))
            case 6:
                other = dice.choice(seeds)
                out += other[dice.randrange(len(other)) :] if dice.random() < 0.5 else other
    return bytes(out)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, fresh: Callable[..., TaskModel], backbone: Backbone) -> Path:
    """A registry with one task."""
    home = tmp_path_factory.mktemp("fuzz") / "registry"
    model = fresh("linear")
    with Registry.open(home) as opened:
        opened.set_backbone(BackboneRecord(backbone.name, backbone.fingerprint, backbone.parameters, backbone.bytes))
        commit_model(opened, "toy", model, backbone)
    return home


# A new process begins with the peak memory of the one that starts it, which is here a test run of gigabytes. So a small
# process starts the command, and prints the command's exit code and peak memory in kB.
_MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:], stdout=open(sys.argv[1], "w"))
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def _predict(registry: Path, folder: Path, *words: str) -> tuple[int, list[str], list[str], float, float]:
    """Run the command; return its exit code, the paths answered, lines of errors, the seconds and the bytes it took."""
    code = "import cli; cli.main(prog_name='cl-ast')"
    options = ["--registry", registry, "--device", "cpu", "predict", folder, "--task", "toy", "--format", "jsonl"]
    command = [sys.executable, "-P", "-c", code, *map(str, options), *words]
    answers = folder.parent / "answers.jsonl"
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", _MEASURED, answers, *command], capture_output=True, errors="replace", check=True
    )
    seconds = time.monotonic() - began
    exit_code, peak = map(int, run.stdout.split())
    paths = [json.loads(line)["path"] for line in answers.read_text("utf-8").splitlines()]
    return exit_code, paths, run.stderr.splitlines(), seconds, peak * 1_024


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(-(-FILES // BATCH)))
def test_mutated_files_are_answered_or_named(
    batch: int, registry: Path, seeds: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    dice = random.Random(batch)
    folder = tmp_path / "clips"
    folder.mkdir()
    healthy, sick = set(), set()
    for number in range(min(BATCH, FILES - batch * BATCH)):
        path = folder / f"{number:04}.wav"
        path.write_bytes(mutated(dice.choice(seeds), seeds, dice))
        sick.add(str(path))
        began = time.monotonic()
        try:
            assert np.isfinite(reading.read(path)).all()
        except AudioError as error:
            assert str(error).startswith(f"{path}: ")
            assert "cannot be read (" not in str(error), error  # the words for what nobody thought of
        assert time.monotonic() - began < MOST_SECONDS
        if number % 5 == 0:
            path = folder / f"{number:04}-healthy.wav"
            path.write_bytes(dice.choice(seeds))
            healthy.add(str(path))
    code, paths, lines, seconds, size = _predict(registry, folder, *(["--window", "0.25"] if batch % 2 else []))
    assert code in (0, 1), lines[-5:]
    assert not [line for line in lines if "Traceback" in line or "unexpected" in line or "callback" in line]
    named = {line.split(": ")[1] for line in lines if line.startswith("cl-ast: ")}
    assert healthy <= set(paths)
    assert sick <= set(paths) | named
    assert size < MOST_BYTES
    assert seconds < MOST_SECONDS + 60
