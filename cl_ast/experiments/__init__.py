"""Experiments of many trainings: grids of cells, and the results that they leave in a file."""
