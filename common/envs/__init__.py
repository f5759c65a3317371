"""Single environments: creation by id, wrappers, checks of what they return, and rendering. No TensorFlow."""
