"""Adaptation methods as data: forms, placements, the table of methods, and one task's adapter."""
