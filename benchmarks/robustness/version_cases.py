"""The command lines that `compare_versions.py` runs in two versions of this project."""

from dataclasses import dataclass

HOPPER = "--env Hopper-v4 --preset"
KL = "--objective adaptive_kl --target-kl 0.02 --recompute-adv true"


@dataclass(frozen=True)
class Case:
    """A command line that both versions run.

    Attributes:
        name: the name in the table and of the folder.
        words: arguments of run.py. `{policy}` and `{checkpoint}` stand for files that OLD wrote in the case `start`.
        ranks: number of MPI processes.
        stop_at: if above 0, OLD also starts a run that is stopped after the scheduled checkpoint of this iteration.
            NEW resumes that run instead of starting one.
        start: name of the case whose files are read.
    """

    name: str
    words: str
    ranks: int = 1
    stop_at: int = 0
    start: str = ""


TRAININGS = (
    Case("ppo1-1", f"{HOPPER} ppo1 --max-iters 30"),
    Case("ppo1-2", f"{HOPPER} ppo1 --max-iters 30", 2),
    Case("ppo1-4", f"{HOPPER} ppo1 --max-iters 30", 4),
    Case("mujoco-1", f"{HOPPER} mujoco --max-iters 30"),
    Case("mujoco-2", f"{HOPPER} mujoco --max-iters 30", 2),
    Case("mujoco-4", f"{HOPPER} mujoco --max-iters 30", 4),
    Case("classic-cartpole", "--env CartPole-v1 --preset classic --max-iters 30"),
    Case("classic-pendulum", "--env Pendulum-v1 --preset classic --max-iters 30"),
    Case("atari", "--env PongNoFrameskip-v4 --preset atari --max-iters 3"),
    Case("trpo", f"{HOPPER} trpo --max-iters 10"),
    Case("a2c", "--env Pendulum-v1 --preset a2c --max-iters 10"),
    Case("reinforce", "--env CartPole-v1 --preset reinforce --max-iters 10"),
    Case("average-2", f"{HOPPER} mujoco --averaging average --max-iters 3", 2),
    Case("adaptive-kl", f"--env CartPole-v1 {KL} --max-iters 10"),
)
RESUMED = (
    Case("resume-ppo1", f"{HOPPER} ppo1 --max-iters 12 --checkpoint-every 4", stop_at=4),
    Case("resume-mujoco-2", f"{HOPPER} mujoco --max-iters 12 --checkpoint-every 4", 2, stop_at=4),
    Case("resume-trpo", f"{HOPPER} trpo --max-iters 12 --checkpoint-every 4", stop_at=4),
)
LOADED = (
    Case("play-hopper", "--play --load-path {policy} --eval-episodes 3 --seed 1", start="mujoco-1"),
    Case("play-cartpole", "--play --load-path {policy} --eval-episodes 3 --deterministic", start="classic-cartpole"),
    Case("play-pong", "--play --load-path {policy} --eval-episodes 1 --deterministic", start="atari"),
    Case("play-checkpoint", "--play --load-path {checkpoint} --eval-episodes 3", start="resume-mujoco-2"),
    Case("warm-start-policy", f"{HOPPER} mujoco --max-iters 3 --load-path {{policy}}", start="mujoco-1"),
    Case("warm-start-checkpoint", f"{HOPPER} ppo1 --max-iters 3 --load-path {{checkpoint}}", start="resume-ppo1"),
)
CASES = {case.name: case for case in (*TRAININGS, *RESUMED, *LOADED)}
