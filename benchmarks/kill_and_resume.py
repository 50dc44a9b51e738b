"""kill -9 at random moments, then the same command: are the final weights bit-equal, and is no stage run twice?

    python benchmarks/kill_and_resume.py recipes/world-pt.toml --kills 10 [--set train.stages.1.steps=100]

Runs the recipe once undisturbed, to know its weights and how long it takes, then once more with kills drawn
uniformly over that time. Writes a JSON line to benchmarks/results/kill_and_resume.jsonl.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

from olhar.core import recipe as recipes
from olhar.core.environment import facts

RESULTS = Path(__file__).with_name("results") / "kill_and_resume.jsonl"


def command(arguments: argparse.Namespace, runs: Path) -> list[str]:
    overrides = [part for override in arguments.set for part in ("--set", override)]
    return [sys.executable, "-m", "olhar.cli", "run", str(arguments.recipe), "--runs", str(runs), *overrides]


def finished(run: Path) -> dict[str, int]:
    """When each finished stage wrote its manifest, in nanoseconds."""
    return {path.parent.name: path.stat().st_mtime_ns for path in run.glob("*/manifest.json")}


def with_kills(arguments: argparse.Namespace, runs: Path, run: Path, seconds: float) -> tuple[list[float], int, float]:
    """Kill at random moments of a run; (moments, stages that ran again, seconds in all)."""
    draw = random.Random(arguments.seed)
    pauses = [draw.uniform(0, 2 * seconds / (arguments.kills + 1)) for _ in range(arguments.kills)]
    again, before, began = 0, finished(run), time.monotonic()
    for pause in pauses:
        running = subprocess.Popen(command(arguments, runs), stdout=subprocess.DEVNULL)
        try:
            running.wait(timeout=pause)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
        now = finished(run)
        again += sum(now.get(stage) != moment for stage, moment in before.items())
        before = now
    subprocess.run(command(arguments, runs), check=True, stdout=subprocess.DEVNULL)
    now = finished(run)
    again += sum(now.get(stage) != moment for stage, moment in before.items())
    return [round(pause, 2) for pause in pauses], again, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--whole", type=Path, help="a run folder that finished undisturbed, instead of running one")
    arguments = parser.parse_args()
    name = recipes.load(arguments.recipe, arguments.set).name
    with tempfile.TemporaryDirectory() as folder:
        whole = arguments.whole or Path(folder) / "whole" / name
        if not arguments.whole:
            subprocess.run(command(arguments, whole.parent), check=True)
        manifests = [json.loads(path.read_text(encoding="utf-8")) for path in whole.glob("*/manifest.json")]
        seconds = sum(manifest["seconds"] for manifest in manifests)
        killed = Path(folder) / "killed" / name
        pauses, again, took = with_kills(arguments, killed.parent, killed, seconds)
        one, other = (load_file(run / "train" / "model" / "model.safetensors") for run in (whole, killed))
        equal = one.keys() == other.keys() and all(one[key].equal(other[key]) for key in one)
    result = {
        "recipe": name,
        "set": arguments.set,
        "kills_after_seconds": pauses,
        "weights_bit_equal": equal,
        "finished_stages_run_again": again,
        "seconds_undisturbed": round(seconds, 1),
        "seconds_with_kills": round(took, 1),
        "machine": facts(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(result) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
