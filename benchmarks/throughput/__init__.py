"""Speed and memory: training compared with the environment alone, with other libraries, and per part of an iteration."""
