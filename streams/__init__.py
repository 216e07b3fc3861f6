"""Loads tasks: published data sets in their original layouts, and folders of labelled clips.

    import streams

    task = streams.load("path/to/folder")                  # a folder of your own labelled clips
    task = streams.load("esc50", data="path/to/ESC-50-master", fold=3)
    task.train, task.validation, task.test                 # tuples of Clip(path, label)

This package reads no audio, except for the headers that give the duration of a folder's clips, and it needs no
model. Every error that it raises is a `cl_ast.errors.StreamError`.
"""

from streams.catalog import DATASETS, Archive, DataSet
from streams.loading import few_shot, folds, load, reload
from streams.task import Clip, Source, Task

__all__ = ["DATASETS", "Archive", "Clip", "DataSet", "Source", "Task", "few_shot", "folds", "load", "reload"]
