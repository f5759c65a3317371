"""From what was typed, the presets and the defaults to every setting of a run; and what a run that goes on may change of them."""

from dataclasses import fields

from baselines_ppo.cli.parser import POLICY_SETTINGS, RunSettings
from baselines_ppo.config.presets import PRESETS, default_preset, split_over_ranks
from baselines_ppo.config.settings import ALGORITHMS
from common.errors import UserError
from common.training.stopping import StopCriteria
from common.validation import check_float

STOP_SETTINGS = ("num_timesteps", "max_episodes", "max_iters", "max_seconds")
# what may differ when a run goes on: how long, and what is written
RESUME_FREE = (
    *STOP_SETTINGS,
    "run_dir",
    "log_interval",
    "save_policy",
    "quiet",
    "stall_timeout",
    "keep_checkpoints",
    "eval_every",
    "eval_episodes",
    "histograms",
    "report",
    "film",
)
MOST = {"num_envs": 10**5, "env_workers": 1000, "env_threads": 1000, "eval_episodes": 10**6}
MLP_ONLY = (
    "hid_size",
    "num_hid_layers",
    "vf_hid_size",
    "gaussian_fixed_var",
    "shared_trunk",
    "normalise_ob",
    "ob_clip",
    "ob_min_std",
)
CNN_ONLY = ("kind", "channels")


def resolve_for_env(typed, ranks, cores):
    """`resolve`d settings, after a look at the environment; `cores` are one rank's."""
    import gymnasium as gym

    from common.envs.factory import kind_of, make_env
    from common.policies.observation_encoder import is_image

    gym.logger.min_level = gym.logger.ERROR
    kind = kind_of(typed["env"])
    image = kind == "atari"
    if kind not in ("mujoco", "atari"):  # Box2D has one that observes images, too
        probe = make_env(typed["env"], env_kwargs=typed.get("env_kwargs"))
        image = is_image(probe.observation_space) and probe.observation_space.dtype == "uint8"
        probe.close()
    return assign_cores(resolve(typed, ranks, kind, typed["env"], image), cores)


def assign_cores(settings, cores):
    """Settings with the processes and threads that step a rank's environments, where nobody has said how many; `cores` are one rank's."""
    from common.envs.factory import kind_of

    kind, spare, found = kind_of(settings["env"]), min(cores, settings["num_envs"]), dict(settings)
    if found.get("env_workers") is None:  # the emulator keeps Python's lock
        found["env_workers"] = spare if kind == "atari" and spare > 1 else 0
    if found.get("env_threads") is None:  # MuJoCo steps without Python's lock; others do not, or may not be safe
        found["env_threads"] = spare if kind == "mujoco" and not found["env_workers"] else 1
    return found


def resolve(typed, ranks, kind, env_id, image):
    """All settings of a run, from what was typed, the preset and the defaults.

    Args:
        typed: {name: value} of what the user gave.
        ranks: number of ranks.
        kind: the environment's kind (`common.envs.factory.kind_of`).
        env_id: its id.
        image: whether it observes images.

    Returns:
        {name: value} with every field of `RunSettings` and of the algorithm's settings, counts per rank, and `policy_settings`.

    Raises:
        UserError: for a value that cannot be.
    """
    alg = typed.get("alg") or (PRESETS[typed["preset"]].alg if "preset" in typed else "ppo")
    name = typed.get("preset") or default_preset(alg, kind, env_id)
    preset = PRESETS[name]
    if preset.alg != alg:
        raise UserError(f"--preset {name} is for --alg {preset.alg}, not {alg}; leave one of them out")
    policy = typed.get("policy") or ("cnn" if image else "mlp")
    run_settings = {one.name: one.default for one in fields(RunSettings)} | {
        "preset": name,
        "alg": alg,
        "policy": policy,
    }
    run_settings["checkpoint_every"] = preset.checkpoint_every
    run_settings["stagger"] = preset.stagger
    run_settings["batch"] = "per-rank" if preset.per_rank else "total"
    run_settings |= {key: value for key, value in typed.items() if key in run_settings}
    if not any(key in typed for key in STOP_SETTINGS):
        run_settings["num_timesteps"] = preset.num_timesteps
    check_run_settings(run_settings)
    if run_settings["num_envs"] is None:
        run_settings["num_envs"] = preset.num_envs if preset.per_rank else split_over_ranks(preset.num_envs, ranks)
    learn_settings = resolve_algorithm(
        typed, alg, preset, run_settings["batch"] == "total", ranks, run_settings["num_envs"]
    )
    ALGORITHMS[alg](**learn_settings).check_with(limits_of(run_settings))
    if run_settings["stagger"] and (why := stagger_conflict(learn_settings)):
        if "stagger" in typed:
            raise UserError(f"--stagger with {why[0]} cannot be: {why[1]}; give --stagger false")
        run_settings["stagger"] = False
    check_policy_names(typed, policy)
    policy_settings = preset.policy.get(policy, {}) | {key: typed[key] for key in POLICY_SETTINGS if key in typed}
    return run_settings | learn_settings | {"policy_settings": policy_settings}


def stagger_conflict(settings):
    """(setting, why no episode may be ended early with it) of an algorithm's settings, {name: value}; None if one may."""
    if settings.get("whole_episodes"):
        return "whole_episodes=True", "an episode that is ended early is not whole"
    if not settings["bootstrap_time_limits"]:
        return "bootstrap_time_limits=False", "an episode that is ended early would count as a death"
    return None


def unused_settings(settings, typed):
    """[(setting, what it would take)] of what is typed and changes nothing beside the other settings, {name: value}."""
    policy, valued = settings["policy_settings"], settings.get("baseline", "value") == "value"
    apart, adaptive = valued and settings.get("vf_iters", 1) > 0, settings.get("objective") == "adaptive_kl"
    takes = {
        "kl_target": (
            adaptive and settings["kl_min"] is None,
            "--objective adaptive_kl without --kl-min; what ends epochs early is --target-kl",
        ),
        **dict.fromkeys(("kl_min", "kl_max"), (adaptive, "--objective adaptive_kl")),
        "beta": (settings.get("objective") in ("adaptive_kl", "fixed_kl"), "--objective adaptive_kl or fixed_kl"),
        "vf_coef": (settings["alg"] == "ppo" or valued and not apart, "--vf-iters 0 and --baseline value"),
        "vf_iters": (valued, "--baseline value"),
        **dict.fromkeys(
            ("vf_stepsize", "vf_batchsize"),
            (apart, "a value function that is fitted: --vf-iters above 0, and in vpg --baseline value"),
        ),
        **dict.fromkeys(("ob_clip", "ob_min_std"), (policy.get("normalise_ob", True), "--normalise-ob true")),
    }
    return [(name, what) for name, (read, what) in takes.items() if name in typed and not read]


def check_run_settings(settings):
    """Raises UserError for the first field of `RunSettings`, {name: value}, that cannot be."""
    for key in ("num_envs", "checkpoint_every", "keep_checkpoints", "eval_episodes", "env_threads"):
        if settings[key] is not None and settings[key] < 1:
            raise UserError(f"{key}={settings[key]}; give at least 1")
    for key in ("env_workers", "eval_every"):
        if (settings[key] or 0) < 0:
            raise UserError(f"{key}={settings[key]}; give 0 for none, or more")
    for key, most in MOST.items():
        if (settings[key] or 0) > most:
            raise UserError(f"{key}={settings[key]}; give at most {most:,}")
    if settings["seed"] < 0:
        raise UserError(f"seed={settings['seed']} is negative; give 0 or more")
    check_float("reward_scale", settings["reward_scale"], -1e30, 1e30)
    check_float("log_interval", settings["log_interval"], 0)
    check_float("stall_timeout", settings["stall_timeout"], 0)


def check_policy_names(names, policy):
    """Raises UserError if one of `names` is a setting of another policy than `policy`, mlp or cnn."""
    if foreign := [key for key in names if key in (MLP_ONLY if policy == "cnn" else CNN_ONLY)]:
        raise UserError(
            f"--{foreign[0].replace('_', '-')} is not a setting of the {policy} policy; leave it out, or change --policy"
        )


def limits_of(settings):
    """A run's `StopCriteria`. UserError, by the command line's names, if they cannot be."""
    limits = StopCriteria(*(settings[key] or 0 for key in STOP_SETTINGS))
    try:
        limits.check()
    except UserError as error:
        raise UserError(str(error).replace("max_timesteps", "num_timesteps")) from error
    return limits


def how_far(settings, ranks, counters):
    """Lines on how far a run goes that are no matter of course: how many steps it becomes in whole iterations; that it has nothing left to do.

    Args:
        settings: the run's, counts per rank.
        ranks: their number.
        counters: those of the checkpoint that it goes on from; None for none.
    """
    limits = limits_of(settings)
    done = [
        counters[name] if counters else 0 for name in ("timesteps_so_far", "episodes_so_far", "iters_so_far", "elapsed")
    ]  # as LIMITS
    if limits.progress(*done) >= 1:
        name, had, what = next(
            one for one in zip(STOP_SETTINGS, done, ("steps", "episodes", "iterations", "seconds")) if settings[one[0]]
        )
        return [
            f"resume: nothing is left to do: the run has had {had:,.0f} {what}, and --{name.replace('_', '-')} is {settings[name]:,}; give more"
        ]
    per_iteration = settings[ALGORITHMS[settings["alg"]].counts()[0]] * ranks
    end = limits.rounded_up(done[0], per_iteration)
    if not limits.max_timesteps or end == limits.max_timesteps or settings.get("whole_episodes"):
        return []
    return [
        f"--num-timesteps {limits.max_timesteps:,} becomes {end:,} steps: iterations are whole, of {per_iteration:,} each"
    ]


def resolve_algorithm(typed, alg, preset, total, ranks, num_envs):
    """The algorithm's settings, counts per rank: what was typed, else the preset's, else the defaults. Arguments as in `resolve`.

    Args:
        total: whether counts are over all ranks, and to be shared out.
        num_envs: of one rank.
    """
    cls = ALGORITHMS[alg]
    settings = {one.name: one.default for one in fields(cls)}
    others = {one.name for other in ALGORITHMS.values() for one in fields(other)} - settings.keys()
    if foreign := [key for key in typed if key in others]:
        homes = [name for name, other in ALGORITHMS.items() if foreign[0] in {one.name for one in fields(other)}]
        raise UserError(
            f"--{foreign[0].replace('_', '-')} is not a setting of {alg}; leave it out, or choose --alg {' or '.join(homes)}"
        )
    settings |= preset.learn | {key: value for key, value in typed.items() if key in settings}
    cls(**settings).check()  # as typed, before it is shared out
    if total:
        steps, rows = cls.counts()
        settings[steps] = split_over_ranks(settings[steps], ranks, num_envs)
        if settings[rows] is not None:
            settings[rows] = min(split_over_ranks(settings[rows], ranks), settings[steps])
        cls(**settings).check()
    cls(**settings).check_for(num_envs)
    return settings


def check_ranks(config, ranks, path):
    """Raises UserError if the run in `path` was trained on another number of ranks."""
    if config["ranks"] != ranks:
        raise UserError(
            f"{path} was trained on {config['ranks']} ranks, this job has {ranks}; resume it on {config['ranks']}"
        )


def resumed_settings(typed, before, ranks, path):
    """The settings of a run that goes on: its own, whatever presets have become since, with the limits and logging that are typed now.

    Args:
        typed: what is typed now.
        before: the run's, from its `config.json`, counts per rank, with every name (`fill_missing_settings`).

    Raises:
        UserError: if something else is typed than the run was started with.
    """
    own = before | before["policy_settings"]
    for key, value in typed.items():
        now, then = per_rank(key, value, before, ranks), own.get(key)
        if key not in RESUME_FREE and now != then:
            shared = "" if now == value else f", {now!r} per rank"
            raise UserError(
                f"--resume: {key}={value!r}{shared}, but the run in {path} has {then!r}; leave it out, or start a new run"
            )
    limits = (
        {one.name: one.default for one in fields(RunSettings) if one.name in STOP_SETTINGS}
        if any(limit in typed for limit in STOP_SETTINGS)
        else {}
    )
    return before | limits | {key: value for key, value in typed.items() if key in RESUME_FREE}


def per_rank(key, value, before, ranks):
    """What a setting comes to on one rank that is typed for a run again: counts may be totals."""
    steps, rows = ALGORITHMS[before["alg"]].counts()
    if before["batch"] == "total" and key == steps:
        return split_over_ranks(value, ranks, before["num_envs"])
    if before["batch"] == "total" and key == rows and value is not None:
        return min(split_over_ranks(value, ranks), before[steps])
    return value


def to_total_counts(settings, ranks):
    """A run's settings, counts per rank, as they are typed: counts are totals where its batch is."""
    counts = ALGORITHMS[settings["alg"]].counts() if settings["batch"] == "total" else ()
    return settings | {name: settings[name] * ranks for name in counts if settings[name] is not None}


def fill_missing_settings(before):
    """A run's settings with those that it has no name for, which did not exist when it was started: as their defaults are, whatever its preset has now.

    Left out are those that a run finds out for itself, such as `env_threads`, and the policy's, which its class has.
    """
    run = {one.name: one.default for one in fields(RunSettings) if one.default is not None}
    return run | {one.name: one.default for one in fields(ALGORITHMS[before["alg"]])} | before


def merge_resume_overrides(before, typed):
    """What was typed for a run, with what is typed to go on with it: one limit replaces another."""
    changed = {key: value for key, value in typed.items() if key in RESUME_FREE}
    kept = {
        key: value
        for key, value in before.items()
        if key not in STOP_SETTINGS or not any(limit in changed for limit in STOP_SETTINGS)
    }
    return kept | changed


def drop_unchanged_load_path(typed, before):
    """What is typed to go on with a run, without the load_path that was typed for it, too (`before`): where it started is decided."""
    return {name: value for name, value in typed.items() if name != "load_path" or value != before.get(name)}


def check_flag_combinations(typed):
    """Raises UserError if evaluations are described and none is asked for, or a film and no report, with which it is made."""
    if typed.get("film") and typed.get("report") is False:
        raise UserError("--film with --report false cannot be: the film is made with the report; leave one of them out")
    if "eval_episodes" in typed and "eval_every" not in typed:
        raise UserError(
            "--eval-episodes without --eval-every: nothing would be evaluated; add --eval-every N, or --play --load-path RUN"
        )


def build_probe_policy(settings):
    """A policy as it will be built. UserError if environment and policy do not fit, or no file could hold the policy, before anything is written."""
    from baselines_ppo.policy_registry import policy_class
    from common.envs.factory import make_env
    from common.policies.files import check_describable

    probe = make_env(settings["env"], env_kwargs=settings["env_kwargs"])
    policy = policy_class(settings["policy"])(
        "probe", probe.observation_space, probe.action_space, **settings["policy_settings"]
    )
    probe.close()
    check_describable(policy)
    return policy
