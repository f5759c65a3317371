"""Collecting: T steps of K environments with the policy as it stands, into a segment with Baselines' keys."""

import functools
from types import SimpleNamespace

import numpy as np
from gymnasium.vector import AutoresetMode

from common import seeding
from common.diagnostics.nonfinite import first_nonfinite_step
from common.errors import EnvError, NonFiniteError, UserError
from common.formatting import truncate
from common.runtime.thread_pool import NamedThreadPool
from common.validation import check_divisible, check_int_argument
from common.vec_env.adapter import VectorEnvAdapter
from common.vec_env.in_process import called

LONGEST = 1_000_000  # steps, after which a whole episode is not waited for any longer


class Collector:
    """Runs a policy in its environments, segment after segment, episodes going on from one to the next.

    Args:
        env: an `Env` or `VectorEnv`.
        pi: the policy; its `actor` acts on a snapshot of its weights.
        horizon: steps a segment, summed over the environments.
        stochastic: sample actions, or take the mode.
        bootstrap_time_limits: keep the last observation of an episode that a time limit ended, whose value stands for what was cut off; else it
            ends as by a death. A `reset` between segments, or a segment's end, is no time limit: the value of its last observation always counts.
        whole_episodes: a segment goes on until every episode that was under way at `horizon` has ended; start each with `reset`.
        threads: the environments are shared out over as many, each with an actor of its own. Worth it where one thread can go on while
            another is in MuJoCo's step or TensorFlow's forward pass, which run without Python's lock. Only for environments of an
            `InProcessVectorEnv`, and not for whole episodes.
        heartbeat: an object whose `step` is kept at the step under way.

    Attributes:
        steps: T, steps of each environment a segment.
        num_envs: K.
    """

    def __init__(
        self,
        env,
        pi,
        horizon,
        stochastic=True,
        whole_episodes=False,
        bootstrap_time_limits=True,
        threads=1,
        heartbeat=None,
    ):
        self.bootstrap_time_limits = bootstrap_time_limits
        self.pi, self.stochastic, self.whole_episodes, self.heartbeat = (
            pi,
            stochastic,
            whole_episodes,
            heartbeat or SimpleNamespace(),
        )
        self.stepper = VectorEnvAdapter(env, pi.encoder)
        self.num_envs = self.stepper.num_envs
        check_divisible("horizon", horizon, self.num_envs)
        self.steps = horizon // self.num_envs
        if self.stepper.mode is AutoresetMode.NEXT_STEP and self.steps == 1:
            raise UserError(
                f"a segment of one step of each environment may be nothing but resets where they take a step of their own (NEXT_STEP); "
                f"give at least {2 * self.num_envs} steps, or AutoresetMode.SAME_STEP"
            )
        ours = self.stepper.ours
        ends = self.stepper.env.bounds(threads) if ours and not whole_episodes else [0, self.num_envs]
        self.groups = [(slice(start, end), self.stepper.part(start, end)) for start, end in zip(ends, ends[1:])]
        self.pool = (
            NamedThreadPool([called(columns.start, columns.stop) for columns, _ in self.groups])
            if len(self.groups) > 1
            else None
        )
        self.obs = None
        self.monitors = self.stepper.env.monitors if ours else []

    def reset(self, seeds=None):
        """Cut every environment where it stands and start new episodes, with `seeds` (a list, one an environment) if given."""
        try:
            self.obs = self.stepper.reset(seeds).copy()
        except EnvError as fault:
            fault.add_context(position="in the reset before the segment")
            raise
        self.new = np.ones(self.num_envs, bool)
        self.ac = np.zeros(
            (self.num_envs, *self.pi.pdtype.sample_shape()), self.pi.pdtype.sample_dtype().as_numpy_dtype
        )
        self.episode_return, self.episode_length = np.zeros(self.num_envs), np.zeros(self.num_envs, int)

    def collect(self, rng):
        """One segment.

        Args:
            rng: NumPy generator of the actions' noise.

        Returns:
            A dict of arrays [T, K, ...]: `ob` (encoded), `ac` (as sampled, unclipped), `rew` float64, `new` (first step of an
            episode), `prevac`, `terminated`, `truncated`, `valid` (False for a row to drop: its action meant nothing, or it is beyond
            what whole episodes need); `last_ob` [K, ...], the observation after the last step; `final_obs` [(t, k, ob)] where a time
            limit ended an episode and bootstraps; `ep_rets`, `ep_lens`: of the episodes that ended; `steps`: how many of the environments were made;
            `flatparam`, `vpred` where the actor kept them.

        Raises:
            EnvironmentFault: for what an environment raised, or returned that is not finite or does not fit its space.
            NotFinite: if it did so after the policy gave it an action that is not finite.
        """
        if self.obs is None:
            self.reset()
        parts = [self._run(rng, self.steps)]
        going_on = ~self.new
        while self.whole_episodes and going_on.any():
            if sum(len(part["rew"]) for part in parts) > LONGEST:
                raise UserError(
                    f"an episode has not ended after {LONGEST:,} steps; whole episodes need ends: wrap the environment in a "
                    "gymnasium.wrappers.TimeLimit, or set whole_episodes=False"
                )
            parts.append(self._run(rng, self.steps, going_on, len(parts) * self.steps))
        seg = parts[0] if len(parts) == 1 else join(parts)
        rew, valid, ended = seg["rew"], seg.pop("real"), seg["terminated"] | seg["truncated"]
        episodes = (
            [episode for monitor in self.monitors for episode in monitor.take_episodes()]
            if self.monitors
            else self._count_episodes(rew * valid, valid, ended)
        )
        self._check_finite(seg["ob"], seg["ac"], rew, seg["last_ob"], seg["final_obs"])
        return seg | {
            "steps": int(valid.sum()),
            "ep_rets": [ep_ret for ep_ret, _ in episodes],
            "ep_lens": [ep_len for _, ep_len in episodes],
        }

    def _run(self, rng, steps, going_on=None, first=0):
        """Part of a segment from its step `first` on: up to `steps` steps; until no episode of `going_on` [K] bool, changed in place, goes on, if
        that is given."""
        num_envs, pdtype = self.num_envs, self.pi.pdtype
        ob = np.empty((steps + 1, num_envs, *self.obs.shape[1:]), self.obs.dtype)
        ac = np.empty((steps + 1, *self.ac.shape), self.ac.dtype)
        rew, new = np.empty((steps, num_envs)), np.empty((steps + 1, num_envs), bool)
        terminated, truncated, real = (
            np.zeros((steps, num_envs), bool),
            np.zeros((steps, num_envs), bool),
            np.ones((steps, num_envs), bool),
        )
        wanted = np.ones((steps, num_envs), bool)
        noise = pdtype.noise(rng, (steps, num_envs)) if self.stochastic else None
        ob[0], ac[0], new[0] = self.obs, self.ac, self.new

        def run(columns, stepper):
            """All time steps of some environments: how many there were, the final observations, what the actor kept."""
            act = self.pi.actor(stepper.num_envs, None if noise is None else noise[:, columns])
            own_ob, own_ac, own_rew, own_real = (x[:, columns] for x in (ob, ac, rew, real))
            step, final_obs, heartbeat = stepper.step, [], self.heartbeat
            try:
                for t in range(steps):
                    heartbeat.step = t
                    chosen = own_ac[t + 1] = act(own_ob[t], t)
                    for k, final_ob, died, cut in step(chosen, t, own_ob, own_rew, own_real):
                        k += columns.start
                        terminated[t, k], truncated[t, k] = died, cut
                        if not died and self.bootstrap_time_limits:
                            final_obs.append((t, k, final_ob))
                    if going_on is not None:
                        wanted[t] = going_on
                        going_on[:] &= ~(terminated[t] | truncated[t])
                        if not going_on.any():
                            return t + 1, final_obs, getattr(act, "outputs", None)
            except EnvError as fault:
                # what it stumbled over may have begun before
                self._check_finite(
                    own_ob[: t + 1], own_ac[1 : t + 2], own_rew[:t], first=first, column=columns.start, failed=True
                )
                fault.offset_environment(columns.start).add_context(position=f"at step {first + t} of the segment")
                raise
            return steps, final_obs, getattr(act, "outputs", None)

        results = (
            [run(*self.groups[0])]
            if self.pool is None
            else self.pool.gather(self.pool.submit_all([functools.partial(run, *group) for group in self.groups]))
        )
        steps = results[0][0]
        new[1 : steps + 1] = (terminated | truncated)[:steps]
        self.obs, self.ac, self.new = ob[steps].copy(), ac[steps].copy(), new[steps].copy()
        rows = {
            "ob": ob,
            "ac": ac[1:],
            "rew": rew,
            "new": new,
            "prevac": ac,
            "terminated": terminated,
            "truncated": truncated,
            "valid": real & wanted,
            "real": real,
        }
        if results[0][2]:
            for i, name in enumerate(("flatparam", "vpred")):
                rows[name] = np.concatenate([np.stack([call[i] for call in kept]) for _, _, kept in results], axis=1)
        return {name: x[:steps] for name, x in rows.items()} | {
            "last_ob": ob[steps],
            "last_new": new[steps],
            "final_obs": sorted((one for _, final, _ in results for one in final), key=lambda one: one[:2]),
        }

    def _count_episodes(self, rew, valid, ended):
        """[(return, length)] of the episodes that ended, in the order in which they did; the rest is carried to the next segment."""
        episodes, start = [], np.zeros(self.num_envs, int)
        for t, k in np.argwhere(ended):
            self.episode_return[k] += rew[start[k] : t + 1, k].sum()
            self.episode_length[k] += valid[start[k] : t + 1, k].sum()
            episodes.append((float(self.episode_return[k]), int(self.episode_length[k])))
            self.episode_return[k] = self.episode_length[k] = 0
            start[k] = t + 1
        for k in range(self.num_envs):
            self.episode_return[k] += rew[start[k] :, k].sum()
            self.episode_length[k] += valid[start[k] :, k].sum()
        return episodes

    def _check_finite(self, ob, ac, rew, last_ob=None, final_obs=(), first=0, column=0, failed=False):
        """Raises for what `first_not_finite` finds: EnvironmentFault, or NotFinite for an action of the policy's.

        Args:
            first, column: the step and the environment of row and column 0.
        """
        found = first_nonfinite_step(ob, ac, rew, last_ob, final_obs, failed)
        if found is None:
            return
        name, t, k, value = found
        acted = {"acted/ob": ob[: t + 1, k], "acted/ac": ac[: t + 1, k]}
        when, k = "in the reset before the segment" if t < 0 else f"at step {first + t} of the segment", column + k
        if name == "action":
            raise NonFiniteError(
                f"the policy gave environment {k} the action {truncate(str(value))}, at a finite observation, {when}",
                "mend its forward, take a smaller step size, or bring the observations to the order of 1",
                arrays=acted,
                facts={"step": first + t, "environment": k},
                on_all_ranks=False,
            )
        raise EnvError(
            f"returned a{'' if name == 'reward' else 'n'} {name} that is not finite: {truncate(str(value))}",
            environment=k,
            env_id=getattr(self.stepper.env.spec, "id", None),
            position=when,
        )


def traj_segment_generator(pi, env, horizon, stochastic, seed=None):
    """Baselines' generator of segments, for code that was written for it.

    Yields a dict with `ob`, `rew`, `vpred`, `new`, `ac`, `prevac`, `nextvpred`, `ep_rets`, `ep_lens` and `final_vpred`, ready for
    `add_vtarg_and_adv`: arrays [T, ...] for an `Env`, [T, K, ...] for a `VectorEnv`. Time limits bootstrap through `final_vpred`.
    """
    collector = Collector(env, pi, check_int_argument("horizon", horizon, 1), stochastic)
    seed = int(np.random.randint(2**31)) if seed is None else check_int_argument("seed", seed)
    collector.reset(seeding.environment_seeds(seed, 0, collector.num_envs, 0))
    iteration = 0
    while True:
        seg = collector.collect(seeding.generator(seed, seeding.ACTIONS, 0, iteration))
        add_values(seg, pi.values)
        yield squeeze(seg) if collector.stepper.squeeze else seg
        iteration += 1


def add_values(seg, values):
    """Adds `vpred` [T, K], `nextvpred` [K] and `final_vpred` [T, K] to a segment.

    Args:
        values: a function from encoded observations [N, ...] to V [N].
    """
    steps, num_envs = seg["rew"].shape
    extra = [seg["last_ob"]] + ([np.stack([ob for _, _, ob in seg["final_obs"]])] if seg["final_obs"] else [])
    vpred = values(np.concatenate([seg["ob"].reshape(steps * num_envs, *seg["ob"].shape[2:]), *extra]))
    assign_values(seg, vpred)


def assign_values(seg, vpred):
    """Puts V of a segment's rows, its last observations and its final observations, one after the other, where GAE reads them."""
    steps, num_envs = seg["rew"].shape
    rows = steps * num_envs
    seg["vpred"] = vpred[:rows].reshape(steps, num_envs)
    seg["nextvpred"] = vpred[rows : rows + num_envs] * (1 - seg["last_new"])
    seg["final_vpred"] = np.zeros_like(seg["vpred"])
    for (t, k, _), value in zip(seg["final_obs"], vpred[rows + num_envs :]):
        seg["final_vpred"][t, k] = value


def join(parts):
    """One segment of several that follow each other."""
    starts = np.cumsum([0, *(len(part["rew"]) for part in parts)])
    last = {name: parts[-1][name] for name in ("last_ob", "last_new")}
    return (
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name not in ("final_obs", *last)}
        | last
        | {"final_obs": [(start + t, k, ob) for start, part in zip(starts, parts) for t, k, ob in part["final_obs"]]}
    )


def squeeze(seg):
    """A segment of one environment without its environment axis."""
    as_they_are = {
        "final_obs",
        "ep_rets",
        "ep_lens",
        "steps",
        "x",
        "all_x",
    }  # lists, and rows that an evaluation has put one after the other
    if seg.get("flatparam", seg["rew"]).ndim == 2:
        as_they_are.add("flatparam")
    per_env = ("last_ob", "last_new", "nextvpred")
    return {
        key: value if key in as_they_are else value[0] if key in per_env else value[:, 0] for key, value in seg.items()
    }
