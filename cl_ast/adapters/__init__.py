"""Adaptation methods described as data: forms, placements, the table of methods, and the adapter of one task."""
