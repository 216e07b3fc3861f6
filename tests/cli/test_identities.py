"""What leaves the machine names nobody: no string of the metadata but for the labels, and nothing of the user."""

import csv
import getpass
import html
import json
import re
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.cli.conftest import Answer, MakeFolder, Run

PEOPLE = ["Zoë Quux <zoe@quux.example>, 1971-03-04", "Åsa Xylander <asa@xyl.example>, 1980-01-02", "O'Grady|Vnuk; 7"]


def metadata(folder: Path, clips: Path, people: list[str], column: str) -> set[str]:
    """Write a folder whose metadata name people in every column; return the strings that must not leave it."""
    secrets: set[str] = set()
    (folder / "Wøhlert-home").mkdir(parents=True)
    rows = []
    for number, clip in enumerate(sorted(clips.rglob("*.wav"))):
        person = people[number % len(people)]
        name = f"Wøhlert-home/rec-of-Plimsoll {number}.wav"
        shutil.copy(clip, folder / name)
        notes, birthday = f"said at Krankenhaus-{number}", f"2003-02-{number + 1:02}"
        rows.append({"file": name, "label": clip.parent.name, column: person, "notes": notes, "born": birthday})
        secrets |= {person, name, "Wøhlert-home", "rec-of-Plimsoll", notes, "Krankenhaus", birthday, "notes", "born"}
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    words = {word for person in people for word in re.split(r"[\s<>,;|]+", person) if len(word) > 3}
    return secrets | words | {str(folder), folder.name}


def of_the_machine() -> set[str]:
    return {getpass.getuser(), socket.gethostname(), str(Path.home()), tempfile.gettempdir()}


def texts(path: Path) -> list[str]:
    """Return a file as text, and as it reads without the escapes of JSON and of HTML."""
    raw = path.read_bytes().decode("utf-8", "replace")
    plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), raw.replace("\\\\", "\\"))
    return [raw, plain, html.unescape(plain), html.unescape(plain).replace("\\", "")]


def check_clean(folder: Path, secrets: set[str]) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 2
    for path in files:
        for text in texts(path):
            found = [secret for secret in secrets if secret in text]
            assert not found, f"{path.name}: {found}"


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user with a name and folders that occur nowhere by chance."""
    for variable in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "quokkauser")
    monkeypatch.setenv("HOME", str(tmp_path / "home-of-quokka"))
    monkeypatch.setattr(socket, "gethostname", lambda: "quokkahost")


CASES = [
    (PEOPLE, "speaker", "linear", "1 speaker tests, 1 speaker validates, 1 speaker trains"),
    (PEOPLE[:2], "speaker", "lora:qv,r=2", "1 speaker tests, the other trains"),
    (PEOPLE, "fold", "linear", "1 fold tests, 1 fold validates, 1 fold trains"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("people", "column", "method", "said"), CASES)
@pytest.mark.usefixtures("user")
def test_an_export_names_nobody(
    run: Run,
    stage: MakeFolder,
    clips: MakeFolder,
    backbone: Path,
    tmp_path: Path,
    people: list[str],
    column: str,
    method: str,
    said: str,
) -> None:
    folder = tmp_path / "Folder-of-Quux"
    secrets = metadata(folder, clips("plain"), people, column) | of_the_machine() | {str(backbone)}
    assert {"quokkauser", "quokkahost"} <= secrets
    home = stage("tones")
    run(home, "-q", "add-task", folder, "--name", "toy", "--method", method, "--epochs", 1, "--no-eval").fine()
    # At home it is still known where the clips are.
    assert run(home, "show", "toy", "--format", "json").fine().json["source"]["data"] == str(folder)

    out = tmp_path / "out"
    run(home, "export", "toy", out).fine()
    check_clean(out, secrets)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert said in card and "low" in card and "high" in card and "path/to/clips" in card
    described = out / ("task.safetensors" if method != "linear" else "adapter_model.safetensors")
    with safe_open(described, "pt") as file:
        assert not [name for name in file.keys() if name.startswith("split")]  # noqa: SIM118
        assert json.loads(file.metadata()["cl_ast"])["labels"] == ["high", "low"]


@pytest.mark.slow
@pytest.mark.usefixtures("user")
def test_a_report_names_files_and_nobody(
    run: Run, stage: MakeFolder, clips: MakeFolder, backbone: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    folder, home, out = tmp_path / "Folder-of-Quux", stage("tones"), tmp_path / "out"
    secrets = metadata(folder, clips("plain"), PEOPLE, "speaker") | of_the_machine() | {str(backbone)}
    run(home, "-q", "add-task", folder, "--name", "toy", "--method", "linear", "--epochs", 1, "--no-eval").fine()
    out.mkdir()
    run(home, "report", out / "page.html").fine()
    page = re.sub(r"base64,[^\"]*", "", (out / "page.html").read_text(encoding="utf-8"))  # pictures have any letters
    assert "toy" in page and "1 speaker tests, 1 speaker validates, 1 speaker trains" in page
    (out / "page.html").write_text(page, encoding="utf-8")
    check_clean(out, secrets - {"rec-of-Plimsoll"})  # the names of the files that are shown


@pytest.mark.slow
@pytest.mark.usefixtures("user")
def test_who_imports_a_task_has_nothing_to_tell(
    run: Run, stage: MakeFolder, clips: MakeFolder, backbone: Path, tmp_path: Path
) -> None:
    folder, home, guest = tmp_path / "Folder-of-Quux", stage("tones", "home"), stage("tones", "guest")
    secrets = metadata(folder, clips("plain"), PEOPLE, "speaker") | of_the_machine() | {str(backbone)}
    run(home, "-q", "add-task", folder, "--name", "toy", "--method", "linear", "--epochs", 1, "--no-eval").fine()
    run(home, "-q", "evaluate", "toy", "--by-name").fine()  # the split is found again
    run(home, "export", "toy", tmp_path / "out").fine()
    run(guest, "import", tmp_path / "out").fine()
    run(guest, "export", "toy", tmp_path / "again").fine()
    check_clean(tmp_path / "again", secrets)


@pytest.mark.usefixtures("user")
def test_an_error_does_not_name_the_home_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home-of-quokka"
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))

    def refused(*words: object) -> Answer:
        from click.testing import CliRunner

        import cli

        result = CliRunner().invoke(cli.main, list(map(str, words)), prog_name="cl-ast")
        return Answer(result.exit_code, result.stdout, result.stderr).refused()

    said = refused("tasks")  # the registry of the user
    assert "quokka" not in said.err and "~/data/cl-ast/registry" in said.err
    assert "home-of-quokkas" in refused("--registry", f"{home}s", "tasks").err  # which only begins alike
