"""One training of `TRAININGS` or `COMPARED` by this package, and its evaluation. Started by learning.py and peers.py.

Prints one JSON object: {"history": [[timesteps, seconds, seconds of CPU time], ...], "returns": [...], ...}, where seconds count from
the beginning of the training.
"""

import argparse
import functools
import json
import os
import time
from typing import Any

from benchmarks.policies.tasks import TASKS, EpisodeLog, LoggedEpisodes
from benchmarks.policies.trainings import COMPARED, NUM_ENVS, TRAININGS, Training

EVALUATION_SEED, EPISODES = 10_000, 100


class History:
    """Steps, wall-clock time and CPU time of a training, one entry for each update."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()
        self.entries: list[tuple[int, float, float]] = []

    def add(self, steps: int) -> None:
        """Note the time after so many steps. The first call of a training, at step 0, is ignored."""
        if steps and (not self.entries or steps > self.entries[-1][0]):
            wall, cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
            self.entries.append((steps, round(wall, 4), round(cpu, 4)))


def train(training: Training, seed: int, steps: int) -> dict[str, Any]:
    """Train and evaluate; returns what this module prints."""
    import baselines_ppo
    from baselines_ppo.networks.mixed_policy import MixedPolicy
    from common.vec_env.in_process import InProcessVectorEnv

    log = EpisodeLog()
    make_env = TASKS[training.task]
    env = InProcessVectorEnv([LoggedEpisodes(make_env(), log) for _ in range(NUM_ENVS)])
    cls = MixedPolicy if training.policy == "MixedPolicy" else getattr(baselines_ppo, training.policy)
    history = History()

    def note(found: dict[str, Any], _: Any) -> None:
        history.add(found["timesteps_so_far"])

    pi = baselines_ppo.learn(
        env,
        functools.partial(cls, **training.policy_settings),
        max_timesteps=steps,
        seed=seed,
        callback=note,
        **training.learn_settings(),
    )
    history.add(log.steps)
    result = baselines_ppo.evaluate_policy(pi, make_env(), EPISODES, deterministic=True, seed=EVALUATION_SEED + seed)
    return report(training, history, log, result.returns.tolist())


def report(training: Training, history: History, log: EpisodeLog, returns: list[float]) -> dict[str, Any]:
    """Assemble the JSON object that a training prints."""
    return {
        "history": history.entries,
        "returns": [round(ret, 3) for ret in returns],
        "last_100": round(sum(ret for _, ret in log.episodes[-100:]) / max(1, len(log.episodes[-100:])), 3),
        "steps_until_solved": None if training.solved is None else log.steps_until(training.solved),
    }


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of this module and of sb3_contrib_train.py."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", choices=[*TRAININGS, *COMPARED])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, help="environment steps [those of the training]")
    return parser


def main() -> None:
    args = build_parser(__doc__).parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from common.runtime.tf_import import import_tensorflow

    import_tensorflow(threads=1)
    training = (TRAININGS | COMPARED)[args.training]
    print(json.dumps(train(training, args.seed, args.steps or training.steps)))


if __name__ == "__main__":
    main()
