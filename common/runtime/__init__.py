"""The process that this runs in: TensorFlow's import, processors, threads, crashes, and what the operating system offers."""
