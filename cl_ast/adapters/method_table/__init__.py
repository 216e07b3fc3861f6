"""The rows of the table of methods, one module for each family of methods."""
