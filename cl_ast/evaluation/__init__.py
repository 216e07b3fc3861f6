"""Test accuracy by name and routed, the metrics of continual learning, and statistics."""
