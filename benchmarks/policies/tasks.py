"""Small tasks that need memory, action masks, mixed observations or mixed actions. The best return of each is known."""

from collections.abc import Callable

import gymnasium as gym
import numpy as np

WAIT = 20  # steps between the cue and the question
SIDE = 7  # of the grid of cells; an action names one of the 49 cells
MAP, TILE = 4, 9  # the map of `FindGoal` has 4 x 4 cells, each of 9 x 9 pixels
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


class Recall(gym.Env):
    """A cue of -1 or 1 is shown in the first step. After 20 more steps, the last action must name it.

    The return is 1 for the right answer and 0 otherwise. Without memory all policies score 0.5 on average, because the
    last observation is always the same.
    """

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.answer, self.steps = int(self.np_random.integers(2)), 0
        return np.array([2 * self.answer - 1, 0], np.float32), {}

    def step(self, action):
        self.steps += 1
        ended = self.steps > WAIT
        reward = float(ended and action == self.answer)
        return np.array([0, self.steps == WAIT], np.float32), reward, ended, False, {}


class PartOfObservation(gym.ObservationWrapper):
    """Shows some entries of a vector observation.

    Args:
        env: the environment.
        entries: their indices.
    """

    def __init__(self, env: gym.Env, entries: list[int]) -> None:
        super().__init__(env)
        self.entries = entries
        space = env.observation_space
        self.observation_space = gym.spaces.Box(space.low[entries], space.high[entries], dtype=space.dtype)

    def observation(self, observation):
        return observation[self.entries]


class Grid(gym.Env):
    """Walk from a random cell of a 7 x 7 grid to the last one. The action names the next cell, which must be adjacent.

    At most four of the 49 actions are valid. An invalid action costs a step and changes nothing. The reward of each
    step is -1, and an episode ends at the goal or after 100 steps.

    Args:
        masks: whether the environment has a method `action_masks`.
    """

    observation_space = action_space = gym.spaces.Discrete(SIDE * SIDE)
    goal = SIDE * SIDE - 1

    def __init__(self, masks: bool = True) -> None:
        rows, columns = np.divmod(np.arange(SIDE * SIDE), SIDE)
        self.distances = np.abs(rows[:, None] - rows) + np.abs(columns[:, None] - columns)
        self.adjacent = self.distances == 1
        if masks:
            self.action_masks = lambda: self.adjacent[self.cell]

    def best_return(self) -> float:
        """The mean return of shortest paths, over all first cells."""
        return -float(self.distances[self.goal, : self.goal].mean())

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell, self.steps = int(self.np_random.integers(self.goal)), 0
        return self.cell, {}

    def step(self, action):
        self.steps += 1
        if self.adjacent[self.cell, action]:
            self.cell = int(action)
        ended = self.cell == self.goal
        return self.cell, -1.0, ended, not ended and self.steps >= 100, {}


class FindGoal(gym.Env):
    """Walk to a goal that only an image shows, from a position that only a vector shows, on a map of 4 x 4 cells.

    The reward of each step is -1, and an episode ends at the goal or after 20 steps. The best mean return is -8 / 3. A
    policy that does not see the image has no better plan than to visit the 15 other cells one after another. Its mean
    return is at most -8.
    """

    observation_space = gym.spaces.Dict(
        {
            "map": gym.spaces.Box(0, 255, (MAP * TILE, MAP * TILE, 1), np.uint8),
            "position": gym.spaces.Box(-1, 1, (2,), np.float32),
        }
    )
    action_space = gym.spaces.Discrete(len(MOVES))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        start, goal = self.np_random.choice(MAP * MAP, 2, replace=False)
        self.position, self.goal, self.steps = np.array(divmod(start, MAP)), np.array(divmod(goal, MAP)), 0
        self.image = np.zeros((MAP * TILE, MAP * TILE, 1), np.uint8)
        row, column = self.goal * TILE
        self.image[row : row + TILE, column : column + TILE] = 255
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        self.position = np.clip(self.position + MOVES[action], 0, MAP - 1)
        ended = bool((self.position == self.goal).all())
        return self._observation(), -1.0, ended, not ended and self.steps >= 20, {}

    def _observation(self):
        return {"map": self.image.copy(), "position": (2 * self.position / (MAP - 1) - 1).astype(np.float32)}


class ChooseAndSet(gym.Env):
    """Choose the larger of two numbers, and set a parameter to its value: parametrised actions, for 50 steps.

    The reward is 1 - |parameter - larger number|, at least 0, for the right choice, and 0 for the other one. The best
    return is 50. Without regard to the numbers, a choice is right in half of the steps: at most 25. A constant
    parameter with all choices right scores at most 31: the larger of two uniform numbers in [-1, 1] has the median
    0.41 and a mean distance of 0.39 from it.
    """

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Dict(
        {"choice": gym.spaces.Discrete(2), "parameter": gym.spaces.Box(-1, 1, (1,), np.float32)}
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action):
        self.steps += 1
        error = abs(float(action["parameter"][0]) - float(self.numbers.max()))
        reward = max(0.0, 1 - error) if action["choice"] == self.numbers.argmax() else 0.0
        return self._draw(), reward, False, self.steps >= 50, {}

    def _draw(self):
        self.numbers = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.numbers.copy()


TASKS: dict[str, Callable[[], gym.Env]] = {
    "recall": Recall,
    "cartpole": lambda: gym.make("CartPole-v1"),
    "cartpole-positions": lambda: PartOfObservation(gym.make("CartPole-v1"), [0, 2]),
    "pendulum-angle": lambda: PartOfObservation(gym.make("Pendulum-v1"), [0, 1]),
    "grid": Grid,
    "grid-unmasked": lambda: Grid(masks=False),
    "find-goal": FindGoal,
    "choose-and-set": ChooseAndSet,
}


class EpisodeLog:
    """Finished training episodes of all environments.

    Attributes:
        steps: of all environments together.
        episodes: [(steps so far, return)].
    """

    def __init__(self) -> None:
        self.steps = 0
        self.episodes: list[tuple[int, float]] = []

    def steps_until(self, minimum: float, window: int = 100) -> int | None:
        """Steps until the mean return of the last `window` episodes was `minimum` or more; None: never."""
        returns = np.array([ret for _, ret in self.episodes])
        if len(returns) < window:
            return None
        means = np.convolve(returns, np.full(window, 1 / window), "valid")
        reached = np.flatnonzero(means >= minimum)
        return self.episodes[reached[0] + window - 1][0] if reached.size else None


class LoggedEpisodes(gym.Wrapper):
    """Adds the steps and episodes of an environment to an `EpisodeLog`."""

    def __init__(self, env: gym.Env, log: EpisodeLog) -> None:
        super().__init__(env)
        self.log, self.ret = log, 0.0
        if env.has_wrapper_attr("action_masks"):
            self.action_masks = env.get_wrapper_attr("action_masks")

    def reset(self, **kwargs):
        self.ret = 0.0
        return self.env.reset(**kwargs)

    def step(self, action):
        result = self.env.step(action)
        self.log.steps += 1
        self.ret += float(result[1])
        if result[2] or result[3]:
            self.log.episodes.append((self.log.steps, self.ret))
        return result
