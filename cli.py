"""The entry point of `cl-ast`; the commands are in `cl_ast/terminal/commands/`."""

from cl_ast.terminal.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main(prog_name="cl-ast")
