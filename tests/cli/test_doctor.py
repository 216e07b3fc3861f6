"""`doctor`: what is here and whether it is well, also where other commands could not start."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Answer, Run, Start

GROUPS = ["versions", "computing", "caches", "backbones", "registry", "extras"]


@pytest.fixture(autouse=True)
def _enough_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cl_ast.training.memory.free_memory", lambda: 8 * 10**9)


def found(answer: Answer) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the findings of a JSON answer by group and name, after a check that it agrees with itself."""
    assert answer.code == (0 if answer.json["well"] else 1), answer.err
    assert answer.err == ""
    findings = answer.json["findings"]
    assert all(one["well"] == (one["to_do"] is None) for one in findings)
    assert answer.json["well"] == all(one["well"] for one in findings)
    assert list(dict.fromkeys(one["group"] for one in findings)) == GROUPS
    return {(one["group"], one["name"]): one for one in findings}


def unwell(answer: Answer) -> dict[str, str]:
    """Return what is to be done, by the name of what is unwell."""
    return {name: one["to_do"] for (_, name), one in found(answer).items() if not one["well"]}


@pytest.mark.slow
def test_everything_that_is_here_is_said_and_well(cl: Run, registry: Path, backbone: Path, tmp_path: Path) -> None:
    all_of_it = found(cl("doctor", "--format", "json").fine())
    assert all_of_it["versions", "python"]["found"] == platform.python_version()
    for package in ("cl-ast", "torch", "torchaudio", "transformers", "soundfile"):
        assert all_of_it["versions", package]["found"] == importlib.metadata.version(package)
    device = all_of_it["computing", "device"]
    assert (device["device"], device["precision"]) == ("cpu", "fp32")
    assert all_of_it["computing", "cores"]["cores"] >= 1
    assert all_of_it["computing", "memory"]["bytes"] == 8 * 10**9
    for name, place in (("features", "features"), ("checkpoints", "training"), ("adapters", "adapters")):
        cache = all_of_it["caches", name]
        assert (cache["path"], cache["writable"]) == (str(tmp_path / "user-cache" / "cl-ast" / place), True)
        assert cache["bytes"] == 0
    assert all_of_it["backbones", "default"]["default"] == "ast-mini"
    assert "not in the hub's cache" in all_of_it["backbones", "ast-base"]["found"]
    assert all_of_it["registry", "place"]["found"] == str(registry)
    assert all_of_it["registry", "tasks"]["tasks"] == 3
    assert all_of_it["registry", "backbone"]["found"] == str(backbone)
    assert all_of_it["extras", "plot"]["installed"]
    out = cl("doctor").fine().out
    assert out.rstrip().endswith("all is well")
    assert f"soundfile        {importlib.metadata.version('soundfile')}" in out


def test_that_there_is_no_registry_yet_is_well_and_none_is_made(tmp_path: Path, run: Run) -> None:
    place = found(run(tmp_path / "new", "doctor", "--format", "json").fine())["registry", "place"]
    assert place["found"].startswith("there is no registry at")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_what_is_wrong_with_the_registry_is_said_with_what_to_do(cl: Run, registry: Path) -> None:
    for path in registry.glob("adapters/*.safetensors"):
        path.unlink()
    answer = cl("doctor", "--format", "json")
    assert set(unwell(answer)) == {"tones", "noises", "chirps"}
    assert all("roll the task back" in to_do for to_do in unwell(answer).values())
    (registry / "registry.db").write_bytes(b"no database" * 1_000)
    answer = cl("doctor", "--format", "json")
    assert "cl-ast rebuild" in unwell(answer)["registry"]
    table = cl("doctor")
    assert (table.code, table.err) == (1, "")
    assert table.out.split("what to do")[1].split()[0] == "registry:"


def test_a_cache_a_device_and_a_version_that_will_not_do(
    cl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CL_AST_CACHE", str(tmp_path / "file"))
    version = importlib.metadata.version
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1" if name == "soxr" else version(name))
    answer = cl("doctor", "--format", "json", "--device", "cuda:99")
    assert unwell(answer).keys() == {"features", "computing", "soxr"}
    assert "CL_AST_CACHE" in unwell(answer)["features"]
    assert "no device 'cuda:99'" in unwell(answer)["computing"]
    assert unwell(answer)["soxr"].startswith("pip install 'soxr>=")


@pytest.mark.slow
def test_it_answers_where_torch_does_not_import(registry: Path, process: Start, tmp_path: Path) -> None:
    (tmp_path / "broken" / "torch").mkdir(parents=True)
    (tmp_path / "broken" / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open it')")
    doctor = process(registry, "doctor", first=f"sys.path.insert(0, {str(tmp_path / 'broken')!r})")
    out, err = doctor.communicate(timeout=120)
    assert doctor.returncode == 1
    assert "Traceback" not in out + err
    assert "which does not import (libcudart.so.12: cannot open it)" in " ".join(out.split())
    assert "torch: pip install --force-reinstall 'torch" in out
    assert "tasks            3, every file as it was written" in out
