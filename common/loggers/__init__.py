"""Where metrics go: log files, TensorBoard, and the console."""
