"""docs/methods.md is what the table says."""

from pathlib import Path

from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.methods_page import page

DOCS = Path(__file__).parents[3] / "docs" / "methods.md"


def test_the_page_is_current() -> None:
    assert DOCS.read_text(encoding="utf-8") == page(), "run: python -m cl_ast.adapters.methods_page docs/methods.md"


def test_every_row_has_a_line_an_equation_and_a_source() -> None:
    for method in METHODS.values():
        assert method.does
        assert method.equation
        assert method.source
