"""One run on disk, for the command line and for `learn`: its directory, outputs, callbacks and records."""
