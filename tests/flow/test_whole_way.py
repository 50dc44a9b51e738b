"""The whole way as a person walks it: one command, killed and given again, and what comes out of it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

RECIPE = Path(__file__).with_name("tiny.toml")
STAGES = ("ingest", "check", "mix", "train", "evaluate", "publish")
WEIGHTS = "train/model/model.safetensors"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def olhar(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "olhar.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the recipe was run once, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    done = olhar("run", str(RECIPE), folder=folder)
    assert done.returncode == 0, done.stderr
    assert "olhar chat runs/tiny" in done.stdout and "report.html" in done.stdout
    return folder


def manifests(folder: Path) -> dict[str, float]:
    found = {name: folder / "runs" / "tiny" / name / "manifest.json" for name in STAGES}
    return {name: path.stat().st_mtime for name, path in found.items() if path.exists()}


def test_every_stage_finishes_with_a_manifest(whole: Path) -> None:
    assert set(manifests(whole)) == set(STAGES)
    train = json.loads((whole / "runs/tiny/train/manifest.json").read_text(encoding="utf-8"))
    assert train["counts"]["stages"]["skills"]["tokens"] > 0 and train["inputs"]["mix"]


def test_a_second_run_does_nothing(whole: Path) -> None:
    before = manifests(whole)
    done = olhar("run", str(RECIPE), folder=whole)
    assert done.returncode == 0 and done.stdout.count("finished before") == len(STAGES)
    assert manifests(whole) == before


def test_kills_change_nothing(whole: Path, tmp_path: Path) -> None:
    """kill -9 at random moments: the final weights are bit-equal, and no finished stage runs again."""
    draw, finished = random.Random(7), {}
    for _ in range(4):
        command = [sys.executable, "-m", "olhar.cli", "run", str(RECIPE)]
        running = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        time.sleep(draw.uniform(2, 9))
        running.send_signal(signal.SIGKILL)
        running.wait()
        now = manifests(tmp_path)
        assert {name: now.get(name) for name in finished} == finished
        finished = now
    done = olhar("run", str(RECIPE), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    one, other = (load_file(folder / "runs/tiny" / WEIGHTS) for folder in (whole, tmp_path))
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)
    lines = [(folder / "runs/tiny/train/2-skills/steps.jsonl").read_text().splitlines() for folder in (whole, tmp_path)]
    losses = [[(row["step"], row["loss"]) for row in map(json.loads, part)] for part in lines]
    assert losses[0] == losses[1] and len(losses[0]) == 60


def test_scores_stand_beside_their_controls(whole: Path) -> None:
    scores = json.loads((whole / "runs/tiny/evaluate/scores.json").read_text(encoding="utf-8"))
    fields = {"benchmark", "skill", "metric", "value", "low", "high", "n", "language", "split", "control", "protocol"}
    assert all(set(score) == fields for score in scores)
    controls = {score["control"] for score in scores if score["skill"] == "macro"}
    assert controls == {"image", "blank", "majority"}
    assert all(score["low"] <= score["value"] <= score["high"] for score in scores)


def test_the_published_folder_answers_alike_in_plain_transformers(whole: Path) -> None:
    """The published snippet, run without olhar, printed what the assistant itself answers."""
    from olhar.core.samples import SampleFile
    from olhar.inference.assistant import Assistant

    run = whole / "runs/tiny"
    manifest = json.loads((run / "publish/manifest.json").read_text(encoding="utf-8"))
    samples = SampleFile(run / "check/composition.jsonl", run)
    asked = next(sample for sample in samples if len(sample.media) == 1 and hasattr(sample.media[0], "marks"))
    assistant = Assistant.load(run / "publish/model")
    assert assistant.answers([asked.turns[:-1]], 40) == [manifest["counts"]["answer"]]
    card = (run / "publish/model/README.md").read_text(encoding="utf-8")
    assert "AutoModelForImageTextToText" in card and "olhar" not in card.split("```")[1]


def test_chat_asks_once_in_json(whole: Path) -> None:
    picture = whole / "runs/tiny/publish/model/example.png"
    asked = ("-i", str(picture), "--mark", "box 0.1 0.1 0.5 0.5 red", "-q", "?", "--json")
    done = olhar("chat", "runs/tiny", *asked, folder=whole)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["question"] == "?" and told["images"] == [str(picture)] and told["tokens_out"] >= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", str(RECIPE), "--set", "train.stages.1.steps=61"), "train.stages.1.steps: 60 then, 61 now"),
        (("run", str(RECIPE), "--set", "seed=3"), "seed: 0 then, 3 now"),
        (("run", str(RECIPE), "--set", "language='xx'"), "no languages called 'xx'"),
        (("run", "nowhere.toml"), "there is no such recipe"),
        (("chat", "nowhere"), "not a checkpoint"),
        (("chat", "runs/tiny", "-i", "nowhere.png", "-q", "?"), "there is no such picture"),
        (("chat", "runs/tiny", "-i", str(RECIPE), "-q", "?"), "not a picture"),
    ],
)
def test_mistakes_end_in_three_lines_and_exit_code_2(whole: Path, arguments: tuple[str, ...], said: str) -> None:
    before = manifests(whole)
    done = olhar(*arguments, folder=whole)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert said in done.stderr.replace("\n", " ") and "fix:" in done.stderr
    assert manifests(whole) == before
