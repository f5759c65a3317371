"""Evaluate a trained policy, deterministic and stochastic, on environments with fresh seeds; prints one JSON object.

python -m benchmarks.returns.evaluate_policy runs/mine --episodes 100 --seed 10000
"""

import argparse
import json
import os


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="a run directory, a policy directory or a policy file")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=10_000)
    args = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in run.py; NumPy reads it when it is imported
    from baselines_ppo.play.policy_env import load_policy_and_env
    from common.errors import UserError
    from common.rollouts.evaluation import evaluate
    from common.runtime.tf_import import import_tensorflow

    import_tensorflow(threads=1)
    try:
        pi, env, *_ = load_policy_and_env(args.path)
    except UserError as error:
        parser.error(str(error))
    modes = {"deterministic": False, "stochastic": True}
    returns = {
        mode: evaluate(pi, env, args.episodes, stochastic, args.seed)[0].tolist() for mode, stochastic in modes.items()
    }
    print(json.dumps(returns))


if __name__ == "__main__":
    main()
