"""`cl-ast report`: what the page and the table say, and that nothing in them acts."""

import csv
import html
import json
import re
import sqlite3
import statistics
import unicodedata
from collections.abc import Callable
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

from registry import Accuracy, Registry, header
from tests.cli.conftest import Answer, MakeFolder, Run, Unchanged
from tests.cli.test_escapes import CLIPBOARD, HIDDEN, LABELS, TEXT

pytest.importorskip("matplotlib")

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} &lt; $x^2$"
Report = Callable[..., str]


class Elements(HTMLParser):
    """What a page consists of.

    Attributes:
        tags, attributes: the names of all elements and of all their attributes.
        addresses: everything that is loaded or linked.
        text: all text outside of elements.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def report(run: Run, tmp_path: Path) -> Report:
    """report(registry, *words): the page, written to a folder `out` with `results.csv`."""

    def make(registry: Path, *words: object) -> str:
        (tmp_path / "out").mkdir(exist_ok=True)
        answer = run(registry, "report", tmp_path / "out" / "page.html", *words).fine()
        assert answer.out.startswith("wrote ") and "results.csv" in answer.out
        return (tmp_path / "out" / "page.html").read_text(encoding="utf-8")

    return make


def table(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_page_and_the_table_say_what_stats_and_evaluate_say(
    registry: Path, run: Run, report: Report, tmp_path: Path, unchanged: Unchanged
) -> None:
    with unchanged(registry):
        page = report(registry)
    assert "data:audio" not in page  # no sound unless it is wanted
    for section in ("Tasks", "Accuracy after each task", "Unknown sounds", "The weakest classes", "Storage and time"):
        assert f">{section}</h2>" in page
    assert "--joint" in page and "joint, " not in page
    stats, rows = run(registry, "stats", "--format", "json").json, table(tmp_path)

    def value(metric: str, **about: str) -> float:
        (found,) = (row for row in rows if row["metric"] == metric and about.items() <= row.items())
        return float(found["value"])

    for mode, name in (("oracle", "by_name"), ("auto", "routed")):
        for metric in ("average_accuracy", "forgetting", "backward_transfer"):
            assert value(metric, mode=name, after="chirps") == pytest.approx(stats["metrics"][mode][metric])
        assert value("accuracy", mode=name, after="noises", task="tones") == stats["matrix"][mode][1][0]
    assert value("chance", mode="by_name", after="chirps") == 1 / 2
    assert value("chance", mode="routed", after="chirps") == pytest.approx(1 / 6)
    assert value("bytes", task="tones") == stats["tasks"][0]["bytes"]
    (found,) = run(registry, "evaluate", "noises", "--details", "--format", "json").json
    for one in found["classes"]:
        assert value("recall", task="noises", label=one["label"]) == one["accuracy"]
    sent = [row for row in rows if (row["metric"], row["task"]) == ("routed_clips", "tones")]
    assert sum(float(row["value"]) for row in sent) == sum(stats["routing"]["confusion"][0])
    kinds = {row["label"] for row in rows if row["metric"] == "unknown"}
    assert kinds == {"silence", "noise", "test clips of the tasks"}
    assert {row["task"] for row in rows if row["metric"] == "unknown_left_out"} == {"tones", "noises", "chirps"}


@pytest.mark.slow
def test_it_can_be_run_again_as_the_page_says(registry: Path, report: Report, data: Path) -> None:
    page = html.unescape(re.sub(r"</?span>", "", report(registry)))
    assert "cl-ast add-task path/to/clips --name noises --method bottleneck:" in page
    assert "--epochs 2" in page and "Fold" not in page and "torch 2." in page
    assert "random split" in page or "stratified" in page


@pytest.mark.slow
def test_clips_that_have_moved_are_said_and_the_rest_is_shown(registry: Path, run: Run, tmp_path: Path) -> None:
    with closing(sqlite3.connect(registry / "registry.db", isolation_level=None)) as database:
        database.execute("UPDATE versions SET source = replace(source, 'tones', 'gone')")
    (tmp_path / "out").mkdir()
    said = run(registry, "report", tmp_path / "out" / "page.html").fine().err
    assert "tones could not be measured" in said and "gone" in said
    page = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    assert "Not measured for this report: tones." in page and "/gone" not in page
    measured = {row["task"] for row in table(tmp_path) if row["metric"] == "recall"}
    assert measured == {"noises", "chirps"}
    assert any(row["metric"] == "accuracy" and row["task"] == "tones" for row in table(tmp_path))


@pytest.mark.slow
def test_without_any_clip_and_without_the_backbone_there_is_still_a_report(
    registry: Path, report: Report, backbone: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(registry / "registry.db", isolation_level=None)) as database:
        database.execute("UPDATE backbone SET name = ?", [str(tmp_path / "gone-backbone")])
    page = report(registry)
    assert "Not measured for this report: tones, noises, chirps." in page
    assert page.count("Not measured: no recording of a task is at hand.") == 3
    assert "local-backbone" in page and "gone-backbone" not in page
    assert not [row for row in table(tmp_path) if row["metric"] == "recall"]


@pytest.mark.slow
def test_names_and_labels_are_text_and_nothing_else(registry: Path, report: Report, tmp_path: Path) -> None:
    name, facts = "<b onclick=alert(1)>\"' {{ 7*7 }} &lt; $x^2$ to\u200bn\u202ees", json.dumps({MARKUP: TEXT})
    words = {"labels": [f"{MARKUP}{CLIPBOARD}", LABELS[1]], "protocol": MARKUP + TEXT, "packages": {MARKUP: TEXT}}
    with Registry.open(registry) as reg:
        sha256 = reg._files.write(header.described(reg.read_adapter(reg.task("tones").version), words))
    with closing(sqlite3.connect(registry / "registry.db", isolation_level=None)) as database:
        database.execute(
            "UPDATE versions SET labels = ?, method = ?, packages = ?, protocol = ?, adapter_sha256 = ? WHERE id = 1",
            [json.dumps(words["labels"]), f"linear{MARKUP}", facts, MARKUP + TEXT, sha256],
        )
        database.execute("UPDATE tasks SET name = ?, key = ? WHERE id = 1", [name, name.casefold()])
    page = report(registry)
    assert not {one for one in page if unicodedata.category(one) in HIDDEN and one != "\n"}
    found = Elements(page)
    assert not found.tags & {"script", "iframe", "object", "embed", "link", "form", "base"}
    assert not [key for key in found.attributes if key.startswith("on")]
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    shown = name.replace("\u200b", "\\u200b").replace("\u202e", "\\u202e")
    assert found.text.count(shown) >= 8  # in tables, headings and figures
    assert f"linear{MARKUP}" in found.text


@pytest.mark.slow
def test_sound_is_embedded_if_wanted(registry: Path, report: Report) -> None:
    assert "data:audio/mpeg;base64," in report(registry, "--with-audio")


@pytest.mark.slow
def test_fifty_tasks_fit_in_a_megabyte(registry: Path, report: Report) -> None:
    with Registry.open(registry) as reg:
        (tones, *_) = reg.tasks()
        adapter, facts = reg.read_adapter(tones.version), tones.version.facts()
        names = [task.name for task in reg.tasks()]
        while len(names) < 50:
            names.append(f"a-task-with-a-long-name-{len(names)}")
            both = [Accuracy(name, "oracle", 0.75, 4) for name in names]
            both += [Accuracy(name, "auto", 0.5, 4, {name: 2, names[0]: 2}) for name in names]
            reg.commit(names[-1], adapter, facts, both)
    page = report(registry)
    assert len(page.encode()) <= 1_000_000
    assert page.count("<h3>") == 51 and page.count('<th scope="row">after') == 0


@pytest.fixture
def joint(run: Run, data: Path, backbone: Path, tmp_path: Path) -> Callable[..., Path]:
    """joint("tones", "noises", …): the folder `runs`, to which two runs of joint training on these tasks are added."""

    def train(*tasks: object, scenarios: tuple[str, ...] = ("cil",), over: Path = backbone) -> Path:
        for scenario in scenarios:
            words = [
                "baselines",
                *(data / str(task) for task in tasks),
                "--methods",
                "joint:lr=1",
                "--adapter",
                "linear",
            ]
            words += ["--orders", 1, "--seeds", 2, "--epochs", 1, "--scenario", scenario, "--backbone", over]
            run(tmp_path / "none", *words, "--out", tmp_path / "runs").fine()
        return tmp_path / "runs"

    return train


@pytest.mark.slow
def test_joint_training_on_the_same_tasks_is_a_line(
    stage: MakeFolder, report: Report, joint: Callable[..., Path], tmp_path: Path
) -> None:
    runs = joint("noises", "tones", scenarios=("cil", "til"))  # in another order than the registry's
    page = report(stage("noises"), "--joint", runs)
    found: dict[str, list[float]] = {}
    with (runs / "results.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["scenario"], []).append(float(row["last_accuracy"]))
    shown = {row["mode"]: row for row in table(tmp_path) if row["metric"] == "joint_accuracy"}
    text = Elements(page).text
    for mode, scenario in (("routed", "cil"), ("by_name", "til")):
        mean = statistics.mean(found[scenario])
        assert float(shown[mode]["value"]) == pytest.approx(mean) and shown[mode]["after"] == "noises"
        deviation = statistics.stdev(found[scenario])
        label = f"joint, {mode.replace('_', ' ')}"
        assert label in text and f"{label.capitalize()}: {100 * mean:.1f} ± {100 * deviation:.1f} %" in text
    assert len(shown) == 2 and "mean of 2 runs" in text and str(tmp_path) not in page


@pytest.mark.slow
def test_joint_training_that_is_not_of_the_registry_is_refused(
    registry: Path, run: Run, joint: Callable[..., Path], data: Path, other_backbone: Path, tmp_path: Path
) -> None:
    def refused(folder: Path, *words: str) -> None:
        run(registry, "-q", "report", tmp_path / "page.html", "--joint", folder).refused(*words)
        assert not (tmp_path / "page.html").exists()

    refused(tmp_path, "results.csv")
    runs = joint("tones", "noises", "chirps", over=other_backbone)
    refused(runs, "another backbone", "cl-ast baselines TASK… --methods joint")
    refused(joint("tones", "noises"), "not", "chirps")
    run(registry, "add-task", data / "tones", "--name", "high-low", "--method", "linear", "--epochs", 1).fine()
    refused(joint("tones", "noises", "chirps"), "not on exactly the 4 tasks of the registry")
    run(registry, "remove", "high-low", "--yes").fine()
    lines = (runs / "results.csv").read_text()
    (runs / "results.csv").write_text(lines.replace("joint:lr=1", "naive").replace(",joint,", ",naive,"))
    refused(runs, "no run of joint training")
    (runs / "results.csv").write_text(lines + lines.splitlines()[-1].replace("epochs=1", "epochs=2") + "\n")
    refused(runs, "in several ways", "epochs=1", "epochs=2")
    (runs / "results.csv").write_text("task,method\na,b\n")
    refused(runs, "baselines")
    assert run(registry, "report", runs, tmp_path / "page.html", "--joint", runs).code == 2


@pytest.mark.slow
def test_a_comparison_has_the_tables_that_compare_prints(
    run: Run, data: Path, backbone: Path, tmp_path: Path, registry: Path
) -> None:
    words = ["compare", data / "tones", "--methods", "linear bitfit", "--seeds", 2, "--epochs", 1]
    printed = run(registry, *words, "--backbone", backbone, "--out", tmp_path / "grid", "--format", "json").fine().json
    before = (tmp_path / "grid" / "results.csv").read_bytes()
    run(registry, "report", tmp_path / "grid", tmp_path / "grid" / "page.html").fine()
    text = Elements((tmp_path / "grid" / "page.html").read_text(encoding="utf-8")).text
    for line in printed:
        numbers = [f"{100 * value:.1f}" for value in (line["accuracy"], line["spread"], *line["interval"])]
        assert line["method"] in text and "{}{}{}–{}".format(*numbers) in text.replace("\n", "")
    assert "local-backbone" in text and str(tmp_path) not in text
    assert (tmp_path / "grid" / "results.csv").read_bytes() == before
    lines = before.decode().splitlines()
    bad = [lines[1].replace(",tones,", ",x,"), "task,method\na,b", f"{lines[0]}\n{lines[1][:-40]},nan,,,,,"]
    for content in bad:
        (tmp_path / "grid" / "results.csv").write_text(content)
        run(registry, "-q", "report", tmp_path / "grid", tmp_path / "new.html").refused("results.csv")
    assert not (tmp_path / "new.html").exists()


@pytest.mark.slow
def test_baselines_have_the_table_that_the_command_prints_and_a_line_a_method(
    run: Run, data: Path, backbone: Path, tmp_path: Path
) -> None:
    words = [
        "baselines",
        data / "tones",
        data / "chirps",
        "--methods",
        "naive:lr=1 joint:lr=1 ncm",
        "--orders",
        2,
        "--seeds",
        1,
    ]
    words += ["--adapter", "linear", "--epochs", 1, "--backbone", backbone, "--out", tmp_path / "runs"]
    printed = run(tmp_path / "none", *words, "--format", "json").fine().json["methods"]
    before = (tmp_path / "runs" / "results.csv").read_bytes()
    assert (
        run(tmp_path / "none", "report", tmp_path / "runs", tmp_path / "page.html").fine().out.endswith("page.html\n")
    )
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    found = Elements(page)
    for line in printed:
        for key in ("last_accuracy", "mean_incremental_accuracy", "forgetting", "intransigence", "backward_transfer"):
            mean, deviation = (100 * line[key][which] for which in ("mean", "sd"))
            shown = f"{mean:z.1f} ± {deviation:.1f}".replace("-", "−")
            assert f'<td class="n">{shown}</td>' in page
        assert found.text.count(line["method"]) >= 4  # in two tables, and at the ends of two lines
    assert "2 random orders, with 1 seed" in page and "chance" in found.text and str(tmp_path) not in page
    assert not found.tags & {"script", "link"} and all(one.startswith("#") for one in found.addresses)
    assert (tmp_path / "runs" / "results.csv").read_bytes() == before
    with (tmp_path / "runs" / "results.csv").open(encoding="utf-8", newline="") as file:
        chances = [json.loads(row["chance"]) for row in csv.DictReader(file)]
    assert all(one == pytest.approx([1 / 2, 1 / 4]) for one in chances)


FINE = {
    "kind": "run", "stream": "bees in 2 steps 0123abcd", "scenario": "cil", "backbone": "84b2", "training": "linear",
    "method": "ncm", "order": 0, "seed": 0, "answer": "", "last_accuracy": 0.5, "mean_incremental_accuracy": 0.6,
    "forgetting": 0.1, "backward_transfer": -0.1, "forward_transfer": 0, "trained_parameters": 5, "stored_bytes": 7,
    "replay_bytes": 0, "seconds": 1.5, "accuracies": "[[1], [0.5, 0.5]]", "chance": "[0.5, 0.25]",
    "versions": "torch=2", "reason": "",
}  # fmt: skip
BAD: list[dict[str, object]] = [
    {"seconds": "nan"},
    {"accuracies": "[[1], [0.5]]"},
    {"accuracies": "[[1], [0.5, 7]]"},
    {"accuracies": "3"},
    {"accuracies": "[" * 50_000},
    {"chance": "[]"},
    {"chance": "[0.5]"},
    {"chance": "{"},
]


@pytest.mark.slow
def test_results_of_baselines_that_cannot_be_are_refused_and_all_others_are_shown(run: Run, tmp_path: Path) -> None:
    def made(**other: object) -> Answer:
        with (tmp_path / "results.csv").open("w", encoding="utf-8", newline="") as file:
            lines = csv.DictWriter(file, list(FINE))
            lines.writeheader()
            lines.writerow({**FINE, **other})
        return run(tmp_path / "none", "-q", "report", tmp_path, tmp_path / "page.html")

    made(kind="trial").refused("results.csv", "only trials", "to its end")
    for one in BAD:
        made(**one).refused("results.csv")
    assert not (tmp_path / "page.html").exists()
    made(stream=f"{MARKUP} 0123abcd", method=MARKUP).fine()
    found = Elements((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert found.text.count(MARKUP) == 3  # the stream, and the method in two tables
    assert found.text.count(MARKUP[:29]) == 5  # and both figures
    assert "0123abcd" not in found.text and "script" not in found.tags
    made(method="ours", answer="\u202eno such").fine()
    made(method="ours", answer="routed").fine()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<tr class="ours"><th scope="row">ours, routed</th>') == 2 and "var(--routed)" in page
    assert "Forgetting of each method" in page
    made(accuracies="[]", reason="the loss of /home/me is not a number").fine()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "1 run failed" in page and "Forgetting of each method" not in page and "/home/me" not in page


def test_what_is_refused(registry: Path, run: Run, tmp_path: Path) -> None:
    assert run(registry, "report", tmp_path / "page.txt").code == 2
    assert run(registry, "report", registry, registry, tmp_path / "page.html").code == 2
    other = "task,method,accuracy\n"
    (tmp_path / "results.csv").write_text(other)
    run(registry, "-q", "report", tmp_path / "page.html").refused("results of another command", "another folder")
    assert (tmp_path / "results.csv").read_text() == other and not (tmp_path / "page.html").exists()
    run(registry, "-q", "report", tmp_path / "no-such", tmp_path / "new" / "page.html").refused("new")
