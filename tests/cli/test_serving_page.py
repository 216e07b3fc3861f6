"""The page of the service in a real browser: by keyboard alone, for everybody, and with nothing from elsewhere."""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cl_ast.evaluation.shown_accuracy import counted, in_sentence
from cl_ast.events import EventSettings, EventsOf, WindowScorer
from cl_ast.manager import Manager
from tests.cli.served import PATIENCE, Server, served, until
from tests.cli.sounds import hiss_and_clicks

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")
playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

Open = Callable[..., Any]
KEY = "a-key-of-32-letters-not-to-guess"
LOOKS = (("light", 320), ("dark", 1280))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording whose name would be markup."""
    path = tmp_path_factory.mktemp("sound") / "<b>yard.wav"
    soundfile.write(path, hiss_and_clicks(), 16_000)
    return path


@pytest.fixture(scope="module")
def browser(recording: Path) -> Iterator[Any]:
    microphone = ("ui", "device"), f"--use-file-for-fake-audio-capture={recording}"
    fake = [f"--use-fake-{one}-for-media-stream" for one in microphone[0]]
    with playwright.sync_playwright() as engine:
        found = engine.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-background-networking", "--mute-audio", *fake, microphone[1]],
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def server(stages: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that may be changed, over a registry of this module's own."""
    registry = tmp_path_factory.mktemp("page") / "registry"
    shutil.copytree(stages["chirps"], registry)
    with served(registry, "--allow-changes") as found:
        yield found


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """opened(server, "#tasks"): the page in a new window; at the end nothing went wrong and nothing was foreign."""
    found = []

    def show(server: Server, screen: str = "", *, scheme: str = "light", width: int = 1280) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.said = []
        own = (server.url, f"blob:{server.url}", server.url.replace("http", "ws"))
        page.on("request", lambda one: page.said.append(one.url) if not one.url.startswith(own) else None)
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(server.url + "/" + screen)
        found.append(page)
        return page

    yield show
    for page in found:
        assert page.said == []
        page.context.close()


def press(page: Any, name: str, *, role: str = "button") -> None:
    """Reach a control with Tab alone, as people do who have no mouse, and press it."""
    target = page.get_by_role(role, name=name, exact=True).first.element_handle()
    reach(page, target)
    page.keyboard.press("Enter")


def reach(page: Any, target: Any) -> None:
    for _ in range(80):
        if target.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("Tab does not reach it")


def choose(page: Any, control: Any, file: Path) -> None:
    """Open a control's dialog by keyboard and choose a file there.

    A key that is pressed before the browser has heard that the dialog is ours opens its own, which nobody answers:
    asking the page where its focus is comes between the two.
    """
    with page.expect_file_chooser() as chooser:
        reach(page, control)
        page.keyboard.press("Enter")
    chooser.value.set_files(file)


def send(page: Any, recording: Path) -> None:
    """Choose a recording, and wait until its events are there."""
    choose(page, page.get_by_role("button", name="Choose files").element_handle(), recording)
    page.locator("#progress", has_text="in windows of").wait_for()


def rows(page: Any) -> list[list[str]]:
    """The events of the table: time and label."""
    found = page.locator("article tbody tr:has(button)")
    return [one.locator("td").all_inner_texts()[1:3] for one in found.all()]


def clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:05.2f}"


def shown(events: list[dict[str, Any]]) -> list[list[str]]:
    return [[f"{clock(one['start'])}–{clock(one['end'])}", one["label"]] for one in events]


def downloaded(page: Any, name: str) -> Path:
    with page.expect_download() as download:
        press(page, name)
    return Path(download.value.path())


@pytest.mark.slow
def test_a_recording_is_searched_cut_again_reviewed_and_downloaded_by_keyboard(
    opened: Open, server: Server, recording: Path, tmp_path: Path
) -> None:
    page = opened(server)
    page.locator("#task option[value=noises]").wait_for(state="attached")
    reach(page, page.locator("#task").element_handle())
    page.keyboard.type("noises")
    until(lambda: page.locator("#task").input_value() == "noises")
    send(page, recording)
    sent = server.ask("/v1/events?task=noises", recording.read_bytes()).json["events"]
    assert len(sent) > 3 and rows(page) == shown(sent)
    assert page.locator(".verdict strong").inner_text() in ("hiss", "clicks")
    assert page.get_by_role("button", name="<b>yard.wav", exact=True).count() == 1  # a name is text
    lanes = page.locator(".lanes button").all_inner_texts()
    assert sorted(lanes) == sorted(one["label"] for one in sent)

    reach(page, page.locator("#threshold").element_handle())
    for _ in range(25):
        page.keyboard.press("ArrowRight")
    content = downloaded(page, "JSON lines").read_text().splitlines()
    again = [one for one in map(json.loads, content) if "why" not in one]
    assert rows(page) == shown(again) != shown(sent)
    assert downloaded(page, "CSV").read_text().count("\n") == len(again) + 1
    assert len(downloaded(page, "Audacity").read_text().splitlines()) == len(again)
    assert len(downloaded(page, "Raven").read_text().splitlines()) == len(again) + 1

    page.locator("#main").focus()
    for key in ("j", "y", "j", "n", "j", "y", "j", "u", "k", "+", "-", "0", "ArrowRight", " ", " "):
        page.keyboard.press(key)
    assert page.get_by_text("2 right, 1 wrong, 1 unsure").is_visible()
    with zipfile.ZipFile(downloaded(page, "Download the clips")) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    clips = sorted((tmp_path / "clips").rglob("*.wav"))
    assert len(clips) == 2 and len(list((tmp_path / "negatives").iterdir())) == 1
    one = min(clips, key=lambda path: path.name)
    assert one.parent.name == again[0]["label"]
    assert soundfile.info(one).duration == pytest.approx(again[0]["end"] - again[0]["start"])


@pytest.mark.slow
def test_it_plays_what_it_shows(opened: Open, server: Server, recording: Path) -> None:
    page = opened(server)
    send(page, recording)
    press(page, "Play")
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    until(lambda: page.locator("audio").evaluate("one => one.currentTime") > 0.2)
    page.keyboard.press("Enter")
    assert page.locator("audio").evaluate("one => one.paused")
    drawn = page.locator("canvas").evaluate(
        "one => new Set(one.getContext('2d').getImageData(60, 0, one.width - 60, 200).data).size"
    )
    assert drawn > 50


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_everybody_can_use_it(opened: Open, server: Server, recording: Path, scheme: str, width: int) -> None:
    page = opened(server, scheme=scheme, width=width)
    send(page, recording)
    page.keyboard.press("j")
    check(page, scheme, width)
    for screen, content in (("Tasks", "Taken for|Never taken"), ("Retention", "average accuracy")):
        press(page, screen, role="link")
        page.get_by_text(re.compile(content)).first.wait_for()
        check(page, scheme, width)


def check(page: Any, scheme: str, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128")
    assert dark is (scheme == "dark")
    found = axe.Axe().run(page).response["violations"]
    assert [one for one in found if one["impact"] in ("serious", "critical")] == []


@pytest.mark.slow
def test_a_microphone_gives_the_events_of_the_library(opened: Open, server: Server, stages: Mapping[str, Path]) -> None:
    page = opened(server)
    messages: list[Any] = []
    page.on("websocket", lambda one: one.on("framereceived", lambda message: messages.append(message)))
    reach(page, page.locator("#task").element_handle())
    page.keyboard.type("noises")
    press(page, "Use the microphone")
    page.locator(".verdict strong", has_text="hiss").wait_for()
    page.locator("#progress", has_text="0:03").wait_for()
    with page.expect_response("**/v1/recordings") as kept:
        press(page, "Stop the microphone")
    page.locator("#progress", has_text="in windows of").wait_for()
    texts = [json.loads(one) for one in messages if isinstance(one, str)]
    live = [one for one in texts if one["type"] == "event.end"]
    columns = b"".join(one for one in messages if isinstance(one, bytes))
    place = f"/v1/recordings/{kept.value.json()['id']}"
    sound = server.ask(f"{place}/sound").body
    with Manager.open(stages["chirps"], device="cpu") as manager:
        found = EventsOf(io.BytesIO(sound), WindowScorer(manager.session, EventSettings("noises")))
        expected = [(one.start, one.end, one.label) for one in found if not one.why]
    assert {"hiss", "clicks"} >= {label for _, _, label in expected} and expected
    assert sorted((one["start"], one["end"], one["label"]) for one in live) == sorted(expected)
    assert rows(page) == shown([{"start": a, "end": b, "label": c} for a, b, c in expected])
    seen = np.frombuffer(server.ask(f"{place}/tiles/0/0").body, np.uint8)
    assert np.abs(seen.astype(int) - np.frombuffer(columns, np.uint8)[: len(seen)]).max() <= 1


@pytest.mark.slow
def test_tasks_and_retention_are_what_the_registry_says(opened: Open, server: Server) -> None:
    page = opened(server, "#tasks")
    stats = server.ask("/v1/stats").json
    clips = [task["test_clips"] for task in stats["tasks"]]
    for task in stats["tasks"]:
        card = page.get_by_role("article", name=task["name"])
        for mode in ("accuracy", "auto_accuracy"):
            assert in_sentence(task[mode], task["test_clips"]) in card.inner_text()
    press(page, "Retention", role="link")
    page.get_by_text("Average accuracy and forgetting").wait_for()
    for mode, title in (("oracle", "by name"), ("auto", "routed")):
        cells = page.locator(f"table:has(caption:text('Accuracy {title}')) tbody td").all_inner_texts()
        matrix = [cell for row in stats["matrix"][mode] for cell in zip(row, clips, strict=True)]
        assert cells == ["" if one is None else counted(one, count) for one, count in matrix]
    cells = page.locator("table:has(caption:text('Where the router')) tbody td").all_inner_texts()
    assert cells == [str(count) for row in stats["routing"]["confusion"] for count in row]
    moments = server.ask("/v1/retention").json["moments"]
    cells = page.locator("table:has(caption:text('and forgetting')) tbody td").all_inner_texts()
    assert cells[-4] == f"{100 * moments[-1]['average']['oracle']:.1f}" and len(cells) == 4 * len(moments)


@pytest.mark.slow
def test_a_task_is_trained_from_a_zip_of_class_folders(
    opened: Open, server: Server, data: Path, tmp_path: Path
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "more"), "zip", data, "chirps"))
    page = opened(server, "#tasks")
    reach(page, page.get_by_label("Name").element_handle())
    page.keyboard.type("more")
    choose(page, page.get_by_label("or zip").element_handle(), archive)
    press(page, "Train")
    page.get_by_text("more is trained.").wait_for()
    page.get_by_role("article", name="more").wait_for()
    assert server.ask("/v1/tasks/more").json["labels"] == ["down", "up"]
    press(page, "Train")  # without a name, the browser says what is missing
    assert server.ask("/v1/trainings?name=more", archive.read_bytes()).code == "conflict"
    assert server.ask("/v1/trainings?name=a/b", archive.read_bytes()).code == "invalid"
    job = server.ask("/v1/trainings?name=another", archive.read_bytes())
    assert server.ask("/v1/trainings?name=third", archive.read_bytes()).code == "overloaded"
    assert server.ask(job.headers["location"], method="DELETE").status == 204
    until(lambda: server.ask("/v1/trainings?name=third", b"no zip").code == "invalid")


@pytest.mark.slow
def test_it_wants_the_key_once(opened: Open, stages: Mapping[str, Path], tmp_path: Path, recording: Path) -> None:
    (tmp_path / "keys").write_text(KEY)
    with served(stages["chirps"], "--api-key-file", tmp_path / "keys", key=KEY) as server:
        page = opened(server)
        for key in ("wrong", KEY):
            page.get_by_label("Key", exact=True).wait_for()
            page.keyboard.type(key)
            page.keyboard.press("Enter")
        page.get_by_text("3 tasks").wait_for()
        send(page, recording)
        press(page, "Use the microphone")  # a page can send no header with a WebSocket
        page.locator("#progress", has_text="Listening: 0:02").wait_for()
        press(page, "Stop the microphone")
        page.locator("#progress", has_text="in windows of").wait_for()
        assert page.locator(".queue button[aria-pressed=true]").inner_text().startswith("microphone")
        page.reload()
        page.get_by_text("3 tasks").wait_for()
        assert not page.get_by_role("dialog").is_visible()
        page.said = [one for one in page.said if "401" not in one]  # the browser's own words for what it was refused
