"""What `cl_ast` promises to have, and nothing else."""

import cl_ast
from cl_ast.errors import ClAstError


def test_every_public_name_resolves_and_is_documented() -> None:
    for name in cl_ast.__all__:
        found = getattr(cl_ast, name)
        assert found.__name__ == name
        assert found.__doc__


def test_every_error_is_of_the_one_tree() -> None:
    for name in cl_ast.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(cl_ast, name), ClAstError)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(cl_ast, "nothing")
