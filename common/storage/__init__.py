"""Files: atomic and append-only writing, arrays with metadata, locks and paths."""
