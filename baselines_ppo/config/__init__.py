"""Settings of a run: what there is, presets, how the settings of a run are resolved, and configuration files. No TensorFlow."""
