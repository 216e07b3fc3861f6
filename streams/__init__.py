"""The tasks that arrive: data sets in their published layouts, and folders of labelled clips.

    import streams

    task = streams.load("path/to/folder")                  # labelled clips of your own
    task = streams.load("esc50", data="path/to/ESC-50-master", fold=3)
    task.train, task.validation, task.test                 # tuples of Clip(path, label)

Nothing here reads audio (but for the headers that tell how long a folder's clips are) and nothing knows a
model. Every error is a `cl_ast.errors.StreamError`.
"""

from streams.catalog import DATASETS, Archive, DataSet
from streams.loading import load, reload
from streams.task import Clip, Source, Task

__all__ = ["DATASETS", "Archive", "Clip", "DataSet", "Source", "Task", "load", "reload"]
