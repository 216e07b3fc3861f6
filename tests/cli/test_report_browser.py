"""The pages of `cl-ast report` in a real browser: they ask for nothing, everybody can read them, and they print."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")
playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytest.importorskip("matplotlib")

Open = Callable[..., Any]
LOOKS = (("light", 360), ("dark", 1280))
PAGES = ("registry", "baselines")


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, stages: Mapping[str, Path], run: Run, data: Path, backbone: Path
) -> Mapping[str, Path]:
    """The page of other ways to learn three tasks, and that of a registry of them, with sound and joint training."""
    folder = tmp_path_factory.mktemp("report")
    words = ["baselines", *(data / task for task in stages), "--methods", "naive:lr=1 joint:lr=1 ncm ours"]
    words += ["--adapter", "linear", "--orders", 1, "--seeds", 1, "--epochs", 1, "--backbone", backbone]
    run(folder / "none", *words, "--out", folder / "runs").fine()
    found = {name: folder / name / "page.html" for name in PAGES}
    for place in found.values():
        place.parent.mkdir()
    run(folder / "none", "report", folder / "runs", found["baselines"]).fine()
    run(stages["chirps"], "report", found["registry"], "--with-audio", "--joint", folder / "runs").fine()
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as engine:
        found = engine.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, places: Mapping[str, Path]) -> Iterator[Open]:
    """opened(scheme, width): a page in the browser, of which every request, message and error is collected."""
    pages = []

    def show(scheme: str, width: int, which: str = "registry") -> Any:
        place = places[which]
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.said = []
        page.on("request", lambda request: page.said.append(request.url) if request.url != place.as_uri() else None)
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(place.as_uri())
        pages.append(page)
        return page

    yield show
    for page in pages:
        page.close()


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.parametrize("which", PAGES)
def test_it_asks_for_nothing_fits_and_can_be_read(opened: Open, which: str, width: int, scheme: str) -> None:
    page = opened(scheme, width, which)
    assert [one for one in page.said if not one.startswith("data:image/png")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128")
    assert dark is (scheme == "dark")
    found = axe.Axe().run(page).response["violations"]
    assert [one for one in found if one["impact"] in ("serious", "critical")] == []


@pytest.mark.slow
def test_pictures_and_sound_are_there(opened: Open) -> None:
    page = opened("light", 1280)
    sizes = page.evaluate("Promise.all([...document.images].map(one => one.decode().then(() => one.naturalWidth)))")
    assert sizes and min(sizes) > 0
    seconds = page.evaluate(
        """Promise.all([...document.querySelectorAll('audio')].map(one => new Promise((done, failed) => {
            one.onloadedmetadata = () => done(one.duration); one.onerror = failed; one.preload = 'metadata'; one.load();
        })))"""
    )
    assert len(seconds) == len(sizes) and seconds == pytest.approx([0.5] * len(sizes), abs=0.15)


@pytest.mark.slow
def test_every_figure_is_drawn_and_can_be_read_out(opened: Open) -> None:
    for which, least in {"registry": 3, "baselines": 2}.items():
        figures = opened("dark", 1280, which).locator("svg.figure").all()
        assert len(figures) == least
        for figure in figures:
            assert figure.get_attribute("role") == "img" and figure.get_attribute("aria-label")
            assert figure.bounding_box()["height"] > 100 and figure.locator("text").count() > 5


@pytest.mark.slow
def test_it_prints_in_light_colours_without_what_only_a_screen_has(opened: Open) -> None:
    page = opened("dark", 1280)
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    page.emulate_media(media="print")
    style = "getComputedStyle(document.querySelector('%s')).%s"
    assert page.evaluate(style % ("body", "backgroundColor")) == "rgb(255, 255, 255)"
    assert page.evaluate(style % ("nav", "display")) == page.evaluate(style % ("audio", "display")) == "none"
    assert page.evaluate(style % (".scroll", "overflowX")) == "visible"
