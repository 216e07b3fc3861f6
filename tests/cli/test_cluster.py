"""`predict --engine ray`: a cluster on this machine gives the answers of one process."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Start

WITHOUT_RAY = "import sys; sys.modules['ray'] = None"


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'cl-ast[ray]'")
def test_two_workers_answer_as_one_process_does(
    registry: Path, data: Path, process: Start, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    for task in ("tones", "noises"):
        shutil.copytree(data / task, folder / task)
    (folder / "tones" / "broken.wav").write_bytes(b"no sound")
    words = ["predict", "mixed", "--format", "json"]  # a path that begins where the command was called
    cluster = process(registry, *words, "--engine", "ray", "--workers", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        here = run(registry, *words)
    out, err = cluster.communicate(timeout=300)
    assert cluster.returncode == here.code == 1  # one clip cannot be read
    said = [line for line in err.splitlines() if not line.startswith("[")]  # Ray's own, from below Python
    assert said == here.err.splitlines()
    assert "dashboard" not in err
    assert len(here.json) == 40  # more than one worker is handed at once
    assert out == here.out


def test_without_ray(registry: Path, data: Path, process: Start) -> None:
    refused = process(registry, "predict", data / "tones", "--engine", "ray", first=WITHOUT_RAY)
    out, err = refused.communicate(timeout=60)
    assert (refused.returncode, out) == (1, "")
    assert err == "cl-ast: Ray is not installed; pip install 'cl-ast[ray]', or leave out --engine\n"


def test_workers_are_of_a_cluster(cl: Run, data: Path) -> None:
    answer = cl("predict", data / "tones", "--workers", "2")
    assert answer.code == 2
    assert "--workers needs --engine ray" in answer.err
