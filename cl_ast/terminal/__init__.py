"""How results and progress look in a terminal; used by the command line only."""
