"""Shows results and progress: tables, plots, JSON, CSV and progress bars."""
