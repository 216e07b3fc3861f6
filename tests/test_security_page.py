"""docs/security.md names the test that holds each line: those tests are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what |")]


def test_each_line_is_held_by_tests_that_are_there() -> None:
    assert len(ROWS) > 25
    for row in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert named, row
        for path in named:
            assert re.search(r"^def test_", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), path


def test_everybody_has_a_part() -> None:
    for who in ("owner", "colleague who may read", "colleague who may write", "stranger's file", "stranger's database"):
        assert re.search(rf"^## .*{who}", PAGE, re.MULTILINE), who
    assert "## The network" in PAGE
