"""A training that trains nothing: its return depends on its settings alone, so that a search takes milliseconds.

It starts in a tenth of the time of a real one, because it imports nothing of this project.
"""

import sys

import pytest

FAKE = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
words = [part for word in sys.argv[1:] for part in word.split("=", 1)]
given = {word[2:]: after for word, after in zip(words, [*words[1:], ""]) if word.startswith("--")}
run = pathlib.Path(given["run-dir"])
root = run.parents[1]
with (root / ".starts").open("a") as file:
    file.write(f"{run.relative_to(root)} {'resumed' if 'resume' in given else 'fresh'}\\n")
if "resume" in given:
    given = json.loads((run / "given.json").read_text()) | given
else:
    (run / "given.json").write_text(json.dumps(given))
    steps = int(given["num-timesteps"])
    (run / "config.json").write_text(json.dumps({"settings": {"num_timesteps": steps}}))
    (run / "checkpoints").mkdir()
    forced = "-forced" if (root / ".no-schedule").exists() else ""
    (run / f"checkpoints/ckpt-00000001{forced}.safetensors").touch()
clip, seed = float(given.get("clip-param", 0.2)), int(given["seed"])
if (root / ".fail-above").exists() and clip > float((root / ".fail-above").read_text()):
    pathlib.Path(os.environ["BASELINES_PPO_FAILURE_FILE"]).write_text(json.dumps({"reason": "run.py: error: loss is nan"}))
    sys.exit(1)
final = 100 * clip + seed % 10 - 100 * (root / f".low-{run.parent.name}").exists()
steps = int(given["num-timesteps"])
with (run / "progress.csv").open("w") as file:
    file.write("EpRewMean,EpisodesSoFar,TimestepsSoFar,TimeElapsed\\n")
    for part in range(1, 11):
        file.write(f"{final * part / 10},{part},{steps * part // 10},{part / 10}\\n")
        file.flush()
        while part == 5 and (root / f".hold-{run.parent.name}").exists():
            time.sleep(0.01)
(run / "policy").mkdir(exist_ok=True)
(run / "policy/policy.safetensors").touch()
"""


@pytest.fixture
def fake(tmp_path):
    """Return the program of the training, as arguments."""
    pytest.importorskip("optuna", reason="the library Optuna is not installed")
    path = tmp_path / "fake.py"
    path.write_text(FAKE)
    return [sys.executable, "-S", "-E", str(path)]
