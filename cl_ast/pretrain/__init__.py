"""Makes the built-in backbone `ast-mini`: synthesises audio and pretrains on it, supervised, for many targets.

Run it as `python -m cl_ast.pretrain`. It reads no recording: every clip is computed, from procedural sounds
(`sounds`) or with the espeak-ng synthesiser (`speech`). `docs/ast-mini.md` describes the whole process.
"""
