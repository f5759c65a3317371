"""The command line: its parser, its errors, shell completion, and the command lines of other programs. No TensorFlow."""
