"""kill -9 in the middle of training, then the same command: does it end as if nothing had happened? And its peer?

    python benchmarks/kill_and_resume.py recipes/world-pt.toml --kills 20 [--set train.stages.1.steps=100]
    python benchmarks/kill_and_resume.py --peer

Runs the recipe once undisturbed, then trains it once more with kills at random points of every training stage: half of
them within a step, half while a checkpoint is being written. Compares every loss and every weight bit for bit, and
counts how often each sample was learned from. ``--peer`` does the like to ``Trainer`` of transformers, in the same
way: a kill after a checkpoint, then ``resume_from_checkpoint``. Each writes a line to results/kill_and_resume.jsonl.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from _results import record
from safetensors.torch import load_file

from olhar.core import recipe as recipes

PEER = Path(__file__).with_name("trainer_resume.py")
BEFORE = ("ingest", "translate", "check", "mix")  # stages that training reads
LOOK = 0.002  # seconds between two looks at a running process
TIMES = ("seconds", "tokens_per_second", "memory_gib", "energy_kwh", "co2_g")  # what no two runs have alike
ENVIRONMENT = os.environ | {"HF_HUB_OFFLINE": "1"}


def command(arguments: argparse.Namespace, runs: Path, verb: str) -> list[str]:
    overrides = [part for override in arguments.set for part in ("--set", override)]
    return [sys.executable, "-m", "olhar.cli", verb, str(arguments.recipe), "--runs", str(runs), *overrides]


def records(run: Path) -> dict[str, list[dict[str, Any]]]:
    """By the training stage's folder, its step log without what the clock says; a line cut by a kill is none."""
    found = {}
    for path in sorted((run / "train").glob("*/steps.jsonl")):
        lines = [
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1:] == "\n"
        ]
        found[path.parent.name] = [{key: v for key, v in line.items() if key not in TIMES} for line in lines]
    return found


def steps_told(stage: Path, but: int = 0) -> int:
    """How many steps are in a stage's log; 0 while it is still the file with inode number ``but``."""
    try:
        with open(stage / "steps.jsonl", "rb") as log:
            return 0 if os.fstat(log.fileno()).st_ino == but else log.read().count(b"\n")
    except FileNotFoundError:
        return 0


def inode(path: Path) -> int:
    """A process that goes on writes a stage's log anew, up to its checkpoint: then the number changes."""
    return path.stat().st_ino if path.exists() else 0


def unfinished(stage: Path) -> set[str]:
    """Checkpoints that are being written."""
    return {path.name for path in stage.glob("checkpoint-*.partial")}


def killed_when(happened: Callable[[], bool], start: list[str], pause: float = 0.0) -> bool:
    """Start, wait until something happened, and kill; False when the process ended before."""
    running = subprocess.Popen(start, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    while running.poll() is None and not happened():
        time.sleep(LOOK)
    time.sleep(pause)
    if running.poll() is not None:
        return False
    running.send_signal(signal.SIGKILL)
    running.wait()
    return True


def points(whole: dict[str, list[dict[str, Any]]], kills: int, draw: random.Random) -> Iterator[tuple[str, int, str]]:
    """Where to kill: (training stage, step, ``step`` or ``write``), as many in every stage, in order."""
    share = [kills // len(whole) + (number < kills % len(whole)) for number in range(len(whole))]
    for (stage, lines), count in zip(whole.items(), share, strict=True):
        chosen = sorted(draw.sample(range(1, len(lines) - 1), min(count, len(lines) - 2)))
        for number, step in enumerate(chosen):
            yield stage, step, ("step", "write")[number % 2]


def with_kills(arguments: argparse.Namespace, whole: Path, run: Path) -> list[dict[str, Any]]:
    """Train in ``run`` with kills; what was killed where."""
    draw, told = random.Random(arguments.seed), records(whole)
    seconds = {path.parent.name: _pace(path) for path in (whole / "train").glob("*/steps.jsonl")}
    done = []
    for stage, step, kind in points(told, arguments.kills, draw):
        folder = run / "train" / stage
        old = inode(folder / "steps.jsonl")

        def reached(folder: Path = folder, step: int = step, kind: str = kind, old: int = old) -> bool:
            return steps_told(folder, old) >= step and (kind == "step" or bool(unfinished(folder)))

        pause = draw.uniform(0, seconds[stage]) if kind == "step" else 0.0
        hit = killed_when(reached, command(arguments, run.parent, "train"), pause)
        inside = bool(unfinished(folder))
        done.append(
            {
                "stage": stage,
                "wanted": step,
                "kind": kind,
                "killed": hit,
                "at": steps_told(folder),
                "inside_write": inside,
            }
        )
        print(json.dumps(done[-1]), flush=True)
    subprocess.run(command(arguments, run.parent, "train"), check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return done


def _pace(path: Path) -> float:
    """Seconds a step took, in the middle of all."""
    moments = [json.loads(line)["seconds"] for line in path.read_text(encoding="utf-8").splitlines()]
    steps = sorted(after - before for before, after in pairwise(moments))
    return steps[len(steps) // 2] if steps else 0.0


def seen_once(run: Path, arguments: argparse.Namespace) -> dict[str, bool]:
    """By training stage that learns answers: was each sample learned from exactly once in an epoch?

    The log holds every step exactly once, with as many samples as the step's draw has; what is drawn in all steps is
    counted here, one after another.
    """
    from olhar.training.data import encode
    from olhar.training.data.draws import draws

    asked = recipes.load(arguments.recipe, arguments.set)
    assert asked.train
    logs, found = records(run), {}
    for number, stage in enumerate(asked.train.stages, start=1):
        name = f"{number}-{stage.name}"
        if stage.objective != "answers":
            continue
        lines = logs[name]
        tokens = [path for path in (run / "train").glob(f"tokens-{stage.mixture}-*") if path.is_dir()]
        right = [line["step"] for line in lines] == list(range(1, len(lines) + 1)) and len(tokens) == 1
        encoded = encode.load(tokens[0])
        order = draws(encoded, stage, asked.train.tokens_of(stage), asked.train.max_tiles, asked.seed)
        counts, before = [0] * encoded.samples, 0
        for line, step in zip(lines, range(len(order)), strict=True):
            drawn = [sample for pack in order[step] for first, last in pack for sample in range(first, last)]
            right &= line["samples"] == len(drawn)
            for sample in drawn:
                right &= counts[sample] == before // encoded.samples  # once in every epoch before this one
                counts[sample], before = counts[sample] + 1, before + 1
        found[name] = right
    return found


def ours(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    name = recipes.load(arguments.recipe, arguments.set).name
    whole = arguments.whole or folder / "whole" / name
    if not arguments.whole:
        for verb in ("ingest", "check", "mix", "train"):
            subprocess.run(command(arguments, whole.parent, verb), check=True, env=ENVIRONMENT)
    killed = folder / "killed" / name
    for stage in BEFORE:
        if (whole / stage).exists():
            shutil.copytree(whole / stage, killed / stage)
    began = time.monotonic()
    kills = with_kills(arguments, whole, killed)
    took = time.monotonic() - began
    one, other = (load_file(run / "train" / "model" / "model.safetensors") for run in (whole, killed))
    told = [records(run) for run in (whole, killed)]
    manifest = json.loads((whole / "train" / "manifest.json").read_text(encoding="utf-8"))
    return {
        "recipe": name,
        "set": arguments.set,
        "kills": sum(kill["killed"] for kill in kills),
        "kills_inside_a_checkpoint": sum(kill["inside_write"] and kill["killed"] for kill in kills),
        "points": kills,
        "steps": {stage: len(lines) for stage, lines in told[0].items()},
        "losses_bit_equal": told[0] == told[1],
        "weights_bit_equal": one.keys() == other.keys() and all(one[key].equal(other[key]) for key in one),
        "each_sample_once_an_epoch": seen_once(killed, arguments),
        "seconds_undisturbed": round(manifest["seconds"], 1),
        "seconds_with_kills": round(took, 1),
    }


def peer(folder: Path, steps: int = 24, save: int = 12) -> dict[str, Any]:
    """Losses of ``Trainer`` undisturbed, and of one that is killed after its checkpoint and resumed from it."""
    import accelerate
    import transformers

    def start(name: str, *options: str) -> list[str]:
        return [sys.executable, str(PEER), str(folder / name), "--steps", str(steps), "--save", str(save), *options]

    subprocess.run(start("whole"), check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    hit = killed_when((folder / "killed" / f"saved-{save}").exists, start("killed"))
    subprocess.run(start("killed", "--resume"), check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    whole, killed = (
        {line["step"]: line for line in _lines(folder / name / "losses.jsonl")} for name in ("whole", "killed")
    )
    after = range(save + 1, steps + 1)
    return {
        "peer": "Trainer on LlavaForConditionalGeneration, fp32, CPU",
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "killed_after_checkpoint": save if hit else None,
        "loss_of_step_1": whole[1]["loss"],
        "losses_undisturbed": [whole[step]["loss"] for step in after],
        "losses_resumed": [killed[step]["loss"] for step in after],
        "losses_bit_equal": all(whole[step]["loss"] == killed[step]["loss"] for step in after),
        "same_samples_in_the_same_order": all(whole[step]["samples"] == killed[step]["samples"] for step in after),
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipe", type=Path, nargs="?")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--whole", type=Path, help="a run folder that finished undisturbed, instead of running one")
    parser.add_argument("--peer", action="store_true", help="the same with Trainer of transformers")
    parser.add_argument("--trial", action="store_true", help="show the result only")
    arguments = parser.parse_args()
    if not (arguments.recipe or arguments.peer):
        parser.error("name a recipe, or --peer")
    with tempfile.TemporaryDirectory() as folder:
        results = [ours(arguments, Path(folder))] if arguments.recipe else []
        results += [peer(Path(folder))] if arguments.peer else []
    for result in results:
        print(json.dumps(result, indent=1))
        if not arguments.trial:
            record(__file__, result)


if __name__ == "__main__":
    main()
