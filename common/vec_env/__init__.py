"""Vector environments: in this process, in worker processes, and Gymnasium's own. No TensorFlow."""

from common.vec_env.in_process import InProcessVectorEnv

__all__ = ["InProcessVectorEnv"]
