"""The groups in which runs are compared."""

from plot_runs import monitored

from baselines_ppo.plot.grouping import group_runs, load


def groups_of(*paths, key=None):
    return {
        env: {name: sorted(run.path.name for run in runs) for name, runs in several.items()}
        for env, several in group_runs(load(paths)[0], key).items()
    }


def test_runs_that_differ_only_in_the_seed_are_one_group(tmp_path):
    for seed in range(3):
        monitored(tmp_path / f"run{seed}", [1, 2], settings={"quiet": bool(seed), "lam": 0.9}, seed=seed)
    assert groups_of(tmp_path) == {"Hopper-v4": {"mujoco": ["run0", "run1", "run2"]}}


def test_runs_are_grouped_by_the_settings_that_differ_within_an_environment(tmp_path):
    for i, (clip, env) in enumerate([(0.1, "Hopper-v4"), (0.2, "Hopper-v4"), (0.2, "Swimmer-v4")]):
        monitored(tmp_path / str(i), [1], env, {"clip_param": clip, "num_timesteps": len(env)}, ["clip_param"])
    assert groups_of(tmp_path) == {
        "Hopper-v4": {"clip_param=0.1": ["0"], "clip_param=0.2": ["1"]},
        "Swimmer-v4": {"clip_param=0.2": ["2"]},
    }


def test_settings_that_follow_from_a_preset_are_not_named(tmp_path):
    monitored(tmp_path / "a", [1], settings={"preset": "ppo1", "vf_coef": 1.0, "entcoeff": 0.0}, typed=["preset"])
    monitored(tmp_path / "b", [1], settings={"preset": "mujoco", "vf_coef": 0.5, "entcoeff": 0.1}, typed=["entcoeff"])
    assert groups_of(tmp_path) == {"Hopper-v4": {"mujoco, entcoeff=0.1": ["b"], "ppo1, entcoeff=0.0": ["a"]}}


def test_a_given_setting_defines_the_groups(tmp_path):
    for i in range(4):
        monitored(
            tmp_path / str(i), [1], settings={"clip_param": i % 2, "lam": i // 2, "policy_settings": {"hid_size": i}}
        )
    assert groups_of(tmp_path, key="lam") == {"Hopper-v4": {"lam=0": ["0", "1"], "lam=1": ["2", "3"]}}
    assert len(groups_of(tmp_path, key="hid_size")["Hopper-v4"]) == 4


def test_without_settings_the_directory_is_the_group(tmp_path):
    for name in ("ppo2-seed0", "ppo2-seed1", "trpo-32", "sb3/seed7"):
        monitored(tmp_path / name, [1])
    assert groups_of(tmp_path) == {
        "Hopper-v4": {"ppo2": ["ppo2-seed0", "ppo2-seed1"], "sb3": ["seed7"], "trpo-32": ["trpo-32"]}
    }


def test_a_run_found_by_two_paths_is_one_seed(tmp_path):
    run = monitored(tmp_path / "a" / "run", [1])
    assert groups_of(tmp_path, run, tmp_path / "a") == {"Hopper-v4": {"run": ["run"]}}
