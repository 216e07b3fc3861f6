"""`python -m cl_ast`, which is `cl-ast`."""

from cl_ast.terminal.main import main

if __name__ == "__main__":
    main(prog_name="cl-ast")
