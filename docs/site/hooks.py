"""Adds to the site what is not in docs/: pages that lie elsewhere in the repository, and the page of all commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
# Where each page lies in the repository, and its name in the site.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "benchmarks/GPU.md": "gpu.md",
}
# What a page may name in the repository, and what is no page of the site.
_NO_PAGES = ("LICENSE", "NOTICE")
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, with links as they are in the site, and the page of all commands."""
    for source, name in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=_with_links_of_site(text, ROOT / source)))
    files.append(File.generated(config, "commands.md", content="\n".join(_commands())))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that lead out of docs/ lead to the pages of the site."""
    source = page.file.abs_src_path
    return _with_links_of_site(markdown, Path(source)) if source else markdown


def _with_links_of_site(text: str, source: Path) -> str:
    def in_site(match: re.Match[str]) -> str:
        target = (source.parent / match[1]).resolve()
        if not target.is_relative_to(ROOT):
            return match[1]
        name = target.relative_to(ROOT).as_posix()
        return ELSEWHERE.get(name) or name.removeprefix("docs/")

    text = re.sub(rf"\[([^]]+)\]\((?:\.\./)?(?:{'|'.join(_NO_PAGES)})\)", r"\1", text)
    return _LINK.sub(in_site, text)


def _commands() -> Iterator[str]:
    """Yield the lines of a page with the help of each command, as a terminal of 100 columns shows it."""
    import cli

    yield "# Every command\n\nWhat `cl-ast COMMAND --help` says, command by command. [command-line.md](command-line.md)"
    yield "says what all of them take.\n"
    group = click.Context(cli.main, info_name="cl-ast", terminal_width=100, max_content_width=100)
    for name in sorted(cli.main.commands):
        command = cli.main.commands[name]
        shown = command.get_help(click.Context(command, parent=group, info_name=name, max_content_width=100))
        yield f"## {name}\n\n```text\n{shown}\n```\n"
