"""Explains failures of training: non-finite numbers, the minibatch that had them, replicas that diverge."""
