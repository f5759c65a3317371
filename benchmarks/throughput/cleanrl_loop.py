"""PPO in PyTorch with the structure and settings of CleanRL's `ppo_continuous_action`, for the throughput benchmark.

This is our implementation, because CleanRL has no package. Each environment has Gymnasium's wrappers; a `SyncVectorEnv` steps them.
Policy and value function are called once per step. An update has ten epochs of 32 minibatches with the clipped value loss and gradients
clipped to norm 0.5. The learning rate decays linearly. Nothing is logged.
"""

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import torch
from torch import nn

GAMMA, LAM, CLIP, VF_COEF, MAX_GRAD_NORM, STEPSIZE = 0.99, 0.95, 0.2, 0.5, 0.5, 3e-4
EPOCHS, MINIBATCHES = 10, 32


def make_env(env_id: str) -> gym.Env:
    """One environment with CleanRL's wrappers."""
    env = gym.wrappers.FlattenObservation(gym.make(env_id, disable_env_checker=True))
    env = gym.wrappers.ClipAction(gym.wrappers.RecordEpisodeStatistics(env))
    env = gym.wrappers.NormalizeObservation(env)
    env = gym.wrappers.TransformObservation(env, lambda ob: np.clip(ob, -10, 10), env.observation_space)
    env = gym.wrappers.NormalizeReward(env, gamma=GAMMA)
    return gym.wrappers.TransformReward(env, lambda rew: np.clip(rew, -10, 10))


def mlp(inputs: int, outputs: int, last_scale: float) -> nn.Sequential:
    """Two hidden layers of 64 tanh units with orthogonal weights."""
    layers = []
    for size, width, scale in ((inputs, 64, 2**0.5), (64, 64, 2**0.5), (64, outputs, last_scale)):
        layer = nn.Linear(size, width)
        nn.init.orthogonal_(layer.weight, scale)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Agent(nn.Module):
    """A Gaussian policy with a state-independent log std, and a separate value function."""

    def __init__(self, ob_dim: int, ac_dim: int) -> None:
        super().__init__()
        self.mean = mlp(ob_dim, ac_dim, 0.01)
        self.value = mlp(ob_dim, 1, 1.0)
        self.logstd = nn.Parameter(torch.zeros(1, ac_dim))

    def forward(self, ob: torch.Tensor, ac: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """(ac, logp, entropy, vpred) of observations [N, ...]; `ac` is sampled if not given."""
        mean = self.mean(ob)
        pd = torch.distributions.Normal(mean, self.logstd.expand_as(mean).exp())
        ac = pd.sample() if ac is None else ac
        return ac, pd.log_prob(ac).sum(1), pd.entropy().sum(1), self.value(ob).flatten()


def advantages(
    rew: torch.Tensor, vpred: torch.Tensor, done: torch.Tensor, next_vpred: torch.Tensor, next_done: torch.Tensor
) -> torch.Tensor:
    """GAE over [T, N]; `done[t]`: the episode ended before step t."""
    adv, last = torch.zeros_like(rew), 0.0
    for t in reversed(range(len(rew))):
        alive = 1.0 - (next_done if t == len(rew) - 1 else done[t + 1])
        following = next_vpred if t == len(rew) - 1 else vpred[t + 1]
        adv[t] = last = rew[t] + GAMMA * alive * following - vpred[t] + GAMMA * LAM * alive * last
    return adv


def optimise(agent: Agent, adam: torch.optim.Adam, batch: dict[str, torch.Tensor]) -> None:
    """Ten epochs of minibatches; `batch` has ob, ac, logp, vpred, adv, ret, each [N, ...]."""
    size = len(batch["ob"])
    for _ in range(EPOCHS):
        for rows in torch.randperm(size).split(size // MINIBATCHES):
            part = {name: x[rows] for name, x in batch.items()}
            _, logp, entropy, vpred = agent(part["ob"], part["ac"])
            log_ratio = logp - part["logp"]
            ratio = log_ratio.exp()
            with torch.no_grad():  # CleanRL's diagnostics, which take time
                ((ratio - 1) - log_ratio).mean().item()
                ((ratio - 1).abs() > CLIP).float().mean().item()
            adv = (part["adv"] - part["adv"].mean()) / (part["adv"].std() + 1e-8)
            pol_loss = torch.max(-adv * ratio, -adv * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
            near = part["vpred"] + (vpred - part["vpred"]).clamp(-CLIP, CLIP)
            vf_loss = 0.5 * torch.max((vpred - part["ret"]) ** 2, (near - part["ret"]) ** 2).mean()
            adam.zero_grad()
            (pol_loss - 0.0 * entropy.mean() + VF_COEF * vf_loss).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRAD_NORM)
            adam.step()


def train(env_id: str, num_envs: int, num_steps: int, iterations: int, on_update: Callable[[int], None]) -> None:
    """Train for `iterations` updates of `num_steps` steps of `num_envs` environments; call `on_update(timesteps)` after each."""
    envs = gym.vector.SyncVectorEnv(
        [lambda: make_env(env_id)] * num_envs, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP
    )
    ob_shape, ac_shape = envs.single_observation_space.shape, envs.single_action_space.shape
    agent = Agent(ob_shape[0], ac_shape[0])
    adam = torch.optim.Adam(agent.parameters(), lr=STEPSIZE, eps=1e-5)
    obs, acs = torch.zeros(num_steps, num_envs, *ob_shape), torch.zeros(num_steps, num_envs, *ac_shape)
    logps, rews, dones, vpreds = (torch.zeros(num_steps, num_envs) for _ in range(4))
    ob, done = torch.tensor(envs.reset(seed=0)[0], dtype=torch.float32), torch.zeros(num_envs)
    for iteration in range(iterations):
        adam.param_groups[0]["lr"] = STEPSIZE * (1 - iteration / iterations)
        for t in range(num_steps):
            obs[t], dones[t] = ob, done
            with torch.no_grad():
                acs[t], logps[t], _, vpreds[t] = agent(ob)
            ob, rew, terminated, truncated, _ = envs.step(acs[t].numpy())
            rews[t] = torch.as_tensor(rew)
            ob, done = torch.tensor(ob, dtype=torch.float32), torch.tensor(terminated | truncated, dtype=torch.float32)
        with torch.no_grad():
            adv = advantages(rews, vpreds, dones, agent(ob)[3], done)
        batch = {"ob": obs, "ac": acs, "logp": logps, "vpred": vpreds, "adv": adv, "ret": adv + vpreds}
        optimise(agent, adam, {name: x.flatten(0, 1) for name, x in batch.items()})
        on_update((iteration + 1) * num_steps * num_envs)
