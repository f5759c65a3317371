"""What one run reads and leaves on disk, for the command line and for `learn(run_dir=...)`: its directory, outputs, callbacks and initial policy."""
