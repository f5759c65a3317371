"""Run directories with given returns, for tests of comparisons."""

import json

A, B = [300.0, 320.0, 310.0, 330.0], [100.0, 150.0, 90.0]


def monitored(folder, returns, env="Hopper-v4", settings=None, typed=(), seed=0):
    """Write a run directory whose episodes, of 10 steps and 1 s, have these returns."""
    folder.mkdir(parents=True)
    lines = [
        f"#{json.dumps({'t_start': 0.0, 'env_id': env})}",
        "r,l,t",
        *(f"{r},10,{i + 1}" for i, r in enumerate(returns)),
    ]
    (folder / "0.0.monitor.csv").write_text("\n".join(lines) + "\n")
    if settings is not None:
        settings = {"env": env, "preset": "mujoco", "alg": "ppo", "seed": seed, "run_dir": str(folder)} | settings
        (folder / "config.json").write_text(
            json.dumps({"settings": settings, "typed": dict.fromkeys(typed), "ranks": 1})
        )
    return folder


def write_groups(root, **finals):
    """Write the runs of several groups, {clip_param: [final return per seed]}."""
    for clip, returns in finals.items():
        for seed, r in enumerate(returns):
            monitored(root / clip / str(seed), [r], settings={"clip_param": clip}, typed=["clip_param"], seed=seed)
    return root
