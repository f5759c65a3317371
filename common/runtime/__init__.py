"""This process and its machine: cores, memory, threads, imports and operating system features."""
