"""How results and progress look: tables, plots, JSON, CSV and progress bars."""
