"""Whatever a registry, a folder or the command line holds, nothing of it acts on the terminal or forges a row."""

import csv
import io
import json
import os
import re
import sqlite3
import sys
import unicodedata
import xml.dom.minidom
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import cl_ast
from registry import Registry, header
from tests.cli.conftest import Answer, MakeFolder, Run

CLIPBOARD = "\x1b]52;c;eA==\x07"
LABELS = [f"low{CLIPBOARD}", "hi\ngh\t1.0\t\x9b2J\u202e[bold]=cmd"]
SHOWN = ["low\\x1b]52;c;eA==\\x07", "hi\\x0agh\\x091.0\\x09\\x9b2J\\u202e[bold]=cmd"]
NAME = "to\u200bn\u202ees"  # as releases before this one allowed it
TEXT = f"{CLIPBOARD}\r\n\u202e\x9b\x7f"
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def clean(answer: Answer, but: str = "\n") -> Answer:
    """Check that no character that acts, or that is not seen, is on standard output or error."""
    for text in (answer.out.replace("\r\n", "\n"), answer.err):
        found = {one for one in text if unicodedata.category(one) in HIDDEN and one not in but}
        assert not found, (found, text)
    return answer


@pytest.fixture
def bad(stage: MakeFolder) -> Path:
    """A registry of one task, whose rows and file hold escapes wherever they can."""
    home = stage("tones", "bad")
    with Registry.open(home) as reg:
        record = reg.task("tones")
        words = {"labels": LABELS, "name": NAME, "protocol": TEXT, "packages": {TEXT: TEXT}}
        sha256 = reg._files.write(header.described(reg.read_adapter(record.version), words))
    source = json.dumps({**record.version.source, "data": f"/gone/{TEXT}", "name": NAME})
    training = json.dumps({**record.version.training, "device": TEXT, "head": TEXT, "best_epoch": TEXT, "curve": TEXT})
    with closing(sqlite3.connect(home / "registry.db", isolation_level=None)) as database:
        database.execute("UPDATE tasks SET name = ?, key = ?", [NAME, NAME])
        database.execute(
            "UPDATE versions SET labels = ?, protocol = ?, packages = ?, source = ?, training = ?, "
            "data_fingerprint = ?, adapter_sha256 = ?, adapter_bytes = ?",
            [json.dumps(LABELS), TEXT, json.dumps({TEXT: TEXT}), source, training, TEXT[:12], sha256, 1],
        )
    return home


COMMANDS: list[list[str]] = [
    ["tasks"],
    ["tasks", "--format", "json"],
    ["show", NAME],
    ["show", NAME, "--format", "json"],
    ["stats"],
    ["stats", "--format", "json"],
    ["stats", "--format", "csv"],
    ["verify"],
    ["gc", "--dry-run"],
    ["gc"],
    ["evaluate"],
    ["evaluate", "--format", "json"],
    ["evaluate", "--details"],
    ["evaluate", NAME, "--details", "--data", f"gone{TEXT}"],
    ["splits", NAME],
    ["splits", f"gone{TEXT}"],
    ["route"],
    ["rebuild"],
    ["rename", NAME, "tones"],
    ["rename", NAME, NAME + CLIPBOARD],
    ["rollback", NAME, "1"],
    ["remove", NAME],
    ["show", f"gone{TEXT}"],
    ["remove", f"gone{TEXT}"],
    ["predict", f"gone{TEXT}.wav"],
    ["add-task", f"gone{TEXT}"],
    ["add-task", "esc50", "--data", f"gone{TEXT}"],
    ["import", f"gone{TEXT}"],
    ["export", NAME, f"{TEXT}/no/such"],
    ["methods", f"lora{TEXT}"],
    ["methods", "lora", "--format", "csv"],
    ["methods", "--backbone", f"gone{TEXT}"],
    [f"no-such-command{TEXT}"],
    ["tasks", f"--no-such-option{TEXT}"],
    ["tasks", "--format", f"{TEXT}"],
    ["tasks", f"{TEXT}"],
    ["stats", "--plot", f"{TEXT}.svg/no"],
    ["relearn", "--to", f"{TEXT}"],
    ["report", "page.html"],
    ["report", f"gone{TEXT}", f"{TEXT}.html"],
    ["--device", f"{TEXT}", "tasks"],
    ["-v", "show", f"gone{TEXT}"],
    ["-v", "predict", f"gone{TEXT}.wav"],
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", COMMANDS, ids=[" ".join(words).encode("unicode_escape").decode() for words in COMMANDS]
)
def test_no_command_prints_what_acts_on_a_terminal(
    run: Run, bad: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = clean(run(bad, *words))
    assert answer.out or answer.err
    assert "cl-ast: unexpected" not in answer.err
    if "json" in words and words[0] in ("tasks", "show"):
        (task,) = answer.json if words[0] == "tasks" else [answer.json]
        assert (task["name"], task["labels"], task["protocol"]) == (NAME, LABELS, TEXT)  # a parser gets what is there
    elif words[:2] == ["show", NAME]:
        assert SHOWN[0] in answer.out and "[bold]" in answer.out
    elif words == ["tasks"]:
        assert "to\\u200bn\\u202ees" in answer.out


@pytest.mark.parametrize("kind", ["table", "json", "csv"])
def test_details_of_odd_clips_and_labels_make_no_row(
    run: Run, bad: Path, data: Path, tmp_path: Path, kind: str
) -> None:
    own = tmp_path / "own"
    for number, label in enumerate(LABELS):
        (own / label).mkdir(parents=True)
        clip = f"a\n0.0\tforged{CLIPBOARD}{number}.wav"
        (own / label / clip).write_bytes((data / "tones" / "low" / "00.wav").read_bytes())
    answer = clean(run(bad, "evaluate", NAME, "--data", own, "--details", "--by-name", "--format", kind)).fine()
    if kind == "csv":
        assert {row["label"] for row in csv.DictReader(io.StringIO(answer.out))} == set(SHOWN)
        assert len(answer.out.splitlines()) == 3
    elif kind == "json":
        assert {one["label"] for one in answer.json[0]["classes"]} == set(LABELS)
    else:
        assert SHOWN[0] in answer.out and f"forged{SHOWN[0][3:]}" in answer.out


@pytest.mark.parametrize("kind", ["table", "json", "jsonl", "csv", "audacity"])
def test_a_label_makes_no_row_and_no_column(run: Run, bad: Path, data: Path, tmp_path: Path, kind: str) -> None:
    clip = tmp_path / f"a\n0.0\t9.9\tforged{CLIPBOARD}.wav"
    clip.write_bytes((data / "tones" / "low" / "00.wav").read_bytes())
    answer = run(bad, "predict", clip, "--task", NAME, "--format", kind).fine()
    clean(answer, but="\n\t" if kind == "audacity" else "\n")
    lines = answer.out.splitlines()
    if kind == "audacity":
        (line,) = lines
        assert line.count("\t") == 2
    elif kind == "csv":
        rows = list(csv.DictReader(io.StringIO(answer.out)))
        assert len(lines) == 3 and len(rows) == 2
        assert {row["label"] for row in rows} == {
            "low\\x1b]52;c;eA==\\x07",
            "hi\\x0agh\\x091.0\\x09\\x9b2J\\u202e[bold]=cmd",
        }
    elif kind != "table":
        (one,) = [json.loads(line) for line in lines] if kind == "jsonl" else answer.json
        assert one["path"] == str(clip) and {row["label"] for row in one["labels"]} == set(LABELS)


def test_a_cell_that_would_be_a_formula_is_text() -> None:
    from cl_ast.terminal.rendering.formats import as_csv

    cells = ["=cmd|' /C calc'!A0", "@SUM(1+1)", "+1(", "-HYPERLINK(1)", "-5 dB", "+", "-1", "=", "a=(1)"]
    rows = list(csv.reader(io.StringIO(as_csv([{"label": cell} for cell in cells]))))
    shown = ["\\x3dcmd|' /C calc'!A0", "\\x40SUM(1+1)", "\\x2b1(", "\\x2dHYPERLINK(1)", *cells[4:]]
    assert [cell for (cell,) in rows[1:]] == shown


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_name_that_is_no_text(run: Run, bad: Path, data: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9\x9b.wav"
    name = os.fsdecode(path)
    clip = (data / "tones" / "low" / "00.wav").read_bytes()
    Path(name).write_bytes(clip)
    (answer,) = run(bad, "predict", name, "--task", NAME, "--format", "json").fine().json
    assert os.fsencode(answer["path"]) == path
    assert "caf\\udce9\\udc9b.wav" in clean(run(bad, "predict", name, "--task", NAME, "--format", "csv")).out


@pytest.mark.slow
def test_progress_and_notes_are_escaped(
    run: Run, stage: MakeFolder, clips: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, folder = stage("tones", "home"), clips(f"data{CLIPBOARD}")
    (folder / f"notes{CLIPBOARD}.m4a").write_bytes(b"none of ours")
    words = ["add-task", folder, "--name", "fine", "--method", "linear", "--epochs", 1]
    for terminal in (False, True):
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")
            monkeypatch.setenv("TERM", "xterm")
        answer = run(home, *words, *["--replace"] * terminal).fine()
        without_colours = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", answer.err)
        clean(Answer(0, answer.out if not terminal else "", without_colours), but="\n\r")
        assert CLIPBOARD not in answer.err + answer.out


@pytest.mark.parametrize("mark", ["\x1b[2J", "\u200b"])
@pytest.mark.parametrize("where", ["folder", "table", "name", "own name"])
def test_a_new_label_or_name_is_refused_before_the_work(
    run: Run, backbone: Path, clips: MakeFolder, tmp_path: Path, where: str, mark: str
) -> None:
    shown = mark.encode("unicode_escape").decode()
    folder = clips(f"da{mark}ta" if where == "own name" else "data")
    if where == "folder":
        (folder / "low").rename(folder / f"lo{mark}w")
    elif where == "table":
        rows = [
            {"file": f"{path.parent.name}/{path.name}", "label": f"{path.parent.name}{mark}x"}
            for path in folder.glob("*/*")
        ]
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    name = ["--name", f"fi{mark}ne"] if where == "name" else []
    words = ["add-task", folder, *name, "--backbone", backbone, "--method", "linear", "--epochs", 1]
    answer = clean(run(tmp_path / "home", *words))
    assert answer.code == 1 and "training" not in answer.err
    assert shown in answer.err and ("lo" + shown in answer.err or where != "folder")
    if where != "name":
        assert "training" not in clean(run(tmp_path / "home", "stream", folder, "--backbone", backbone)).err


def test_what_is_imported_is_escaped_and_said(run: Run, bad: Path, stage: MakeFolder, tmp_path: Path) -> None:
    with closing(sqlite3.connect(bad / "registry.db", isolation_level=None)) as database:
        database.execute("UPDATE tasks SET name = 'tones', key = 'tones'")
    clean(run(bad, "export", "tones", tmp_path / "out")).fine()
    guest = stage("noises", "guest")
    refused = clean(run(guest, "-q", "import", tmp_path / "out"))
    refused.refused("to\\u200bn\\u202ees", "choose another name", "--name")
    answer = clean(run(guest, "import", tmp_path / "out", "--name", "theirs")).fine()
    said, by_name = answer.err.splitlines()
    assert "2 labels had control or format characters" in said and "answers by name only" in by_name
    task = run(guest, "show", "theirs", "--format", "json").json
    assert task["labels"] == SHOWN
    clean(run(guest, "show", "theirs")).fine()


def test_a_card_is_text_and_nothing_else(run: Run, stage: MakeFolder, tmp_path: Path) -> None:
    home = stage("tones", "home")
    odd = [f"![x](http://evil/{CLIPBOARD})", "<script>`a`|_b_\n# head"]
    with Registry.open(home) as reg:
        record = reg.task("tones")
        words = {"labels": odd, "protocol": "$$x$$ [a](b) <img src=x> &lt;", "packages": {"*a*": TEXT}}
        sha256 = reg._files.write(header.described(reg.read_adapter(record.version), words))
    with closing(sqlite3.connect(home / "registry.db", isolation_level=None)) as database:
        database.execute("UPDATE versions SET adapter_sha256 = ?", [sha256])
    clean(run(home, "export", "tones", tmp_path / "out")).fine()
    card = (tmp_path / "out" / "README.md").read_text()
    assert not [one for one in card if unicodedata.category(one) in HIDDEN and one != "\n"]
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", re.sub(r"`[^`\n]*`", "", card))  # without code and without what is escaped
    for markup in ("[x]", "](", "<script", "<img", "_b_", "$$", "&lt", "*a*", "\n# head"):
        assert markup not in bare, markup
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)


@pytest.mark.slow
def test_a_plot_of_odd_names(run: Run, bad: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in (NAME, "a $^b$ & <x> --"):
        with closing(sqlite3.connect(bad / "registry.db", isolation_level=None)) as database:
            database.execute("UPDATE tasks SET name = ?, key = ?", [name, name.casefold()])
        clean(run(bad, "stats", "--format", "csv", "--plot", tmp_path / "plot.svg")).fine()
        text = (tmp_path / "plot.svg").read_text()
        xml.dom.minidom.parseString(text)
        assert not [one for one in text if unicodedata.category(one) in HIDDEN and one not in "\n"]


def test_many_tasks_are_plain_lines_that_are_escaped() -> None:
    from rich.console import Console

    from cl_ast.terminal.rendering.tables import listed

    rows = [(f"a\n{CLIPBOARD}{number}", "linear", "1") for number in range(200)]
    out = io.StringIO()
    Console(file=out, width=200).print(listed(("task", "method", "size"), rows))
    lines = out.getvalue().splitlines()
    assert len(lines) == 201 and len(set(map(len, lines[1:11]))) == 1 and CLIPBOARD not in out.getvalue()


# The only files that may do it, and what it is: whatever else prints would forget to escape.
DOORS = {
    r"click\.(echo|secho|confirm|prompt|edit|style|progressbar|pause)\(": {"output.py"},
    r"\bprint\(|\binput\(|sys\.__?std(out|err)__?|print_exc|showwarning|logging\.": {"output.py"},
    r"sys\.std(out|err)": {"output.py", "encoding.py"},
    r"\bConsole\(": {"rendering/console.py"},
    r"rich\.table|\bText\(|from_markup|rich\.print|rich\.prompt|rich\.panel|rich\.tree": {"rendering/layout.py"},
}


@pytest.mark.slow
def test_everything_is_printed_by_the_one_module_that_escapes() -> None:
    root = Path(cl_ast.__file__).parent
    places = [*sorted((root / "terminal").rglob("*.py")), root.parent / "cli.py"]
    assert len(places) > 40

    def used() -> Iterator[tuple[str, str]]:
        for path in places:
            name = path.relative_to(root / "terminal").as_posix() if path.name != "cli.py" else "cli.py"
            for pattern in DOORS:
                found = re.findall(rf"(?<!\.)(?:{pattern})", path.read_text(encoding="utf-8"))
                if found:
                    yield pattern, name

    found = {(pattern, name) for pattern, name in used()}
    allowed = {(pattern, name) for pattern, names in DOORS.items() for name in names}
    assert found - allowed == set()
    # The library prints nowhere else, so what it says comes through the command line.
    others = [path for top in ("cl_ast", "registry", "streams") for path in (root.parent / top).rglob("*.py")]
    for path in others:
        if (root / "terminal") not in path.parents and (root / "pretrain") not in path.parents:
            assert not re.search(r"^\s*(import|from) click|sys\.std(out|err)\.write", path.read_text("utf-8"), re.M), (
                path
            )
