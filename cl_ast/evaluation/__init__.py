"""Test accuracy by name and routed, the metrics of continual learning, statistics, and comparisons of methods."""
