"""Answering: the session that holds a registry's backbone and tasks in memory, and predictions for clips."""
