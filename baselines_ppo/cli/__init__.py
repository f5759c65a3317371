"""The command line: options from settings, parser, errors, shell completion, command lines as text. No TensorFlow.

Commands (`train`, `play`, `sweep`, `plot`, `report`, `export`) and what they print import it; it imports `config`.
"""
