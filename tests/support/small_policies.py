"""A policy for tests of what does not depend on how the update is compiled."""
from baselines_ppo import MlpPolicy


def uncompiled(name, ob_space, ac_space, **settings):
    """An MlpPolicy of eight units without XLA, which takes seconds to compile what these tests compute in milliseconds."""
    pi = MlpPolicy(name, ob_space, ac_space, **{"hid_size": 8} | settings)
    pi.xla = False
    return pi
