"""The documentation builds as a site without a network; a link that leads nowhere fails it; pages load nothing else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="builds the site: pip install '.[docs]'")

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def _build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    # A proxy where nothing listens: whatever would be fetched fails.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    # Not -q, with which warnings are not counted.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    built = _build(ROOT / "mkdocs.yml", place)
    assert built.returncode == 0, built.stdout + built.stderr
    return place


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.glob("*.html"))
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= {page.stem for page in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(https?://[^\s\">]+)", text)
        loaded += re.findall(r"<link\b[^>]*rel=\"?stylesheet[^>]*href=\"?(https?://[^\s\">]+)", text)
        assert not loaded, page


def test_the_pages_that_are_made_have_every_command_and_every_method_of_the_manager(site: Path) -> None:
    import cli

    commands = (site / "commands.html").read_text(encoding="utf-8")
    assert set(re.findall(r'<h2 id="([\w-]+)"', commands)) == set(cli.main.commands)
    api = (site / "api.html").read_text(encoding="utf-8")
    assert {"Manager.add_task", "Manager.predict", "Manager.open"} <= set(re.findall(r"manager\.(Manager\.\w+)", api))
    assert "TrainOptions" in api and "streams.loading.load" in api


def test_the_readme_is_the_first_page_with_its_pictures(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    for name in re.findall(r'<img[^>]*src="([^"]+)"', text):
        assert (site / name).is_file(), name
    assert 'href="start.html"' in text


def test_links_that_lead_nowhere_fail_the_build(tmp_path: Path) -> None:
    links = ("[there](no-such-page.md)", "[there](other.md#no-such-place)", "![there](none.png)")
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# One\n\n{}\n\n{}\n\n{}\n".format(*links))
    (docs / "other.md").write_text("# Other\n")
    settings = f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nnav: [index.md, other.md]\nhooks: []\nplugins: []\n"
    (tmp_path / "mkdocs.yml").write_text(settings + "theme: { name: mkdocs }\n")
    built = _build(tmp_path / "mkdocs.yml", tmp_path / "site")
    warned = [line for line in built.stderr.splitlines() if line.startswith("WARNING")]
    assert built.returncode != 0
    for place in ("no-such-page.md", "no-such-place", "none.png"):
        assert sum(place in line for line in warned) == 1, built.stderr
