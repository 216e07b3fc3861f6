"""How the embedded backbone `ast-mini` is made: synthetic audio, and a supervised multi-task pretraining on it.

Run as `python -m cl_ast.pretrain`. Nothing here reads a recording: every clip is computed, from procedural
sound events (`sounds`) and from the espeak-ng synthesiser (`speech`). `docs/ast-mini.md` tells the whole
story.
"""
