"""The rows of the table of methods, one family a module."""
