"""What goes wrong in training ends in three lines that say what, where and how; nothing that was finished is lost."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from olhar.cli import main
from tests.flow import miniature

RECIPE = """
name = "bad"
language = "pt"

[[ingest]]
name = "talk"
source = "llava"
path = "data/conversations.json"

[[mix]]
name = "talk"
take = [{ data = "talk" }]

[model]
family = "llava"
tower = "tower"
language_model = "words"
tokenizer = "words"

[train]
prompt = "tucano"
max_tokens = 400
precision = "fp32"
workers = 0
checkpoint_seconds = 1000

[[train.stages]]
name = "sft"
mixture = "talk"
trains = { connector = 1e-3, language = 1e-3 }
steps = 3
batch = 4
unit = "samples"
warmup_steps = 1
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
LONG = ("train.stages.0.steps=80", "train.checkpoint_steps=5")
PATIENCE = 100.0  # seconds, far more than anything here needs
SMALL = 250_000  # bytes: more than the weights of a checkpoint, less than its optimizer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, its parts, its data, and a run that is ready to train."""
    folder = tmp_path_factory.mktemp("made")
    miniature.tower(folder / "tower", "siglip")
    miniature.language_model(folder / "words", "tucano")
    miniature.llava(folder / "data", "pt", rounds=3)
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    done = subprocess.run(command(folder, stage="mix"), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "f"))


def command(folder: Path, *overrides: str, stage: str = "train", options: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, "-m", "olhar.cli", *arguments(folder, stage, overrides, options)]


def arguments(folder: Path, stage: str, overrides: tuple[str, ...], options: tuple[str, ...] = ()) -> list[str]:
    told = [part for override in overrides for part in ("--set", override)]
    return [stage, str(folder / "recipe.toml"), "--runs", str(folder / "runs"), *told, *options]


@pytest.fixture
def told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    """Train here; what was said, and the error of a person's mistake ("" where all went well)."""

    def training(*overrides: str, options: tuple[str, ...] = ()) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["olhar", *arguments(folder, "train", overrides, options)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        if ended.value.code == 0:
            return said.out, ""
        return said.out, checked(ended.value.code, said.err)

    return training


def checked(code: Any, stderr: str) -> str:
    """The error, which has its three parts and is no traceback."""
    assert code == 2 and "Traceback" not in stderr, stderr
    lines = stderr[stderr.index("error: ") :].strip().splitlines()
    assert lines[-2].startswith("  where: ") and lines[-1].startswith("  fix:   ")
    return "\n".join(lines)


def findings(folder: Path) -> list[dict[str, Any]]:
    (file,) = (folder / "runs" / "bad" / "train").glob("tokens-*/findings.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def records(folder: Path) -> list[dict[str, Any]]:
    log = folder / "runs" / "bad" / "train" / "1-sft" / "steps.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_it_trains_where_nothing_is_wrong(told: Callable[..., tuple[str, str]], folder: Path) -> None:
    said, error = told()
    assert not error and "8 samples" in said and findings(folder) == []
    assert [line["step"] for line in records(folder)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("policy", "said", "checks"),
    [
        ("reject", "rejected", {("length", "error")}),
        ("truncate", "truncated", {("length", "warning")}),
        ("split", "split", {("length", "warning")}),
    ],
)
def test_samples_over_the_limit(
    policy: str, said: str, checks: set[tuple[str, str]], told: Callable[..., tuple[str, str]], folder: Path
) -> None:
    """Told in one line with the file that lists them, each with its reason."""
    out, error = told("train.max_tokens=150", f"train.overlong={policy}")
    assert not error
    (line,) = [line for line in out.splitlines() if "samples" in line and "tokens" in line]
    assert said in line and "findings.jsonl" in out
    found = findings(folder)
    assert found and {(row["check"], row["severity"]) for row in found} == checks
    assert all("150" in row["message"] for row in found)
    assert len({row["sample_id"] for row in found}) < 8


def test_nothing_to_learn_from(told: Callable[..., tuple[str, str]], folder: Path) -> None:
    _, error = told("train.max_tokens=60", "train.overlong=truncate")
    assert "none of 8 samples can be learned from" in error and "no trained one would be left" in error
    assert "findings.jsonl" in error and len(findings(folder)) == 8
    _, error = told("train.max_tokens=60", "train.overlong=truncate")
    assert "none of 8 samples" in error, "and again, as nothing has changed"


def test_a_loss_that_is_no_number(told: Callable[..., tuple[str, str]], folder: Path) -> None:
    whole = (folder / "words/model.safetensors").read_bytes()
    weights = load_file(folder / "words/model.safetensors")
    weights["lm_head.weight"][7, 3] = float("nan")
    save_file(weights, folder / "words/model.safetensors", {"format": "pt"})
    for _ in range(2):
        _, error = told()
        assert "the loss is nan" in error and "stage sft, step 1: samples s" in error and "fp32" in error
        assert records(folder) == []
    (folder / "words/model.safetensors").write_bytes(whole)
    _, error = told()
    assert "inputs.language_model: " in error and "--redo train" in error
    assert told(options=("--redo", "train"))[1] == "" and len(records(folder)) == 3


def test_a_tokenizer_of_another_model(told: Callable[..., tuple[str, str]], folder: Path) -> None:
    """It has fewer tokens than the model has rows: only its words tell."""
    miniature.language_model(folder / "other", "qwen")
    _, error = told("model.tokenizer=other")
    assert "this tokenizer is not the model's: '<unk>' is 0 in the model's own, and None in this one" in error


def test_another_recipe(told: Callable[..., tuple[str, str]], folder: Path) -> None:
    assert told()[1] == ""
    before = (folder / "runs/bad/train/manifest.json").read_bytes()
    _, error = told("train.stages.0.weight_decay=0.5")
    assert "train.stages.0.weight_decay: 0.05 then, 0.5 now" in error and "--redo" in error
    assert (folder / "runs/bad/train/manifest.json").read_bytes() == before
    assert told("train.workers=1", "train.checkpoint_seconds=5")[1] == "", "which change nothing of the result"


def test_other_data(told: Callable[..., tuple[str, str]], folder: Path) -> None:
    file = folder / "data" / "conversations.json"
    file.write_text(file.read_text(encoding="utf-8").replace("gato", "rato"), encoding="utf-8")
    _, error = told()
    assert "talk" in error and "--redo ingest" in error


ENOUGH = 12  # steps, of which a checkpoint holds ten


def begun(folder: Path, *overrides: str, **options: Any) -> subprocess.Popen[str]:
    """A training in a process of its own that has done some steps."""
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = subprocess.Popen(command(folder, *LONG, *overrides), env=ENVIRONMENT, **pipes, **options)
    end = time.monotonic() + PATIENCE
    while len(records(folder)) < ENOUGH and running.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert running.poll() is None, running.communicate()[1]
    return running


@pytest.fixture
def goes_on(told: Callable[..., tuple[str, str]], folder: Path) -> Callable[[], None]:
    """Gives the same command once more: all steps are there, each once."""

    def again() -> None:
        out, error = told(*LONG)
        assert not error and "continues an interrupted run" in out
        assert [line["step"] for line in records(folder)] == list(range(1, 81))

    return again


def test_asked_to_stop(folder: Path, goes_on: Callable[[], None]) -> None:
    running = begun(folder)
    running.send_signal(signal.SIGTERM)
    _, error = running.communicate(timeout=PATIENCE)
    stopped = len(records(folder))
    assert f"stopped at step {stopped} of 80" in checked(running.returncode, error)
    assert (folder / f"runs/bad/train/1-sft/checkpoint-{stopped:08d}/state.json").exists()
    goes_on()


def test_stopped_by_hand(folder: Path) -> None:
    def heard() -> None:  # a job in the background ignores interrupts, and so do all that it starts
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    running = begun(folder, preexec_fn=heard)
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130 and "Traceback" not in error
    assert error.strip().splitlines()[-1] == "stopped; give the same command again to continue"
    assert (folder / "runs/bad/train/1-sft/checkpoint-00000010/state.json").exists()


def test_a_worker_that_is_killed(folder: Path) -> None:
    """Wherever this process is when it hears of it."""
    running = begun(folder, "train.workers=1")
    (worker,) = (int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split())
    os.kill(worker, signal.SIGKILL)
    _, error = running.communicate(timeout=PATIENCE)
    assert "a process that prepares batches ended" in checked(running.returncode, error)
    assert (folder / "runs/bad/train/1-sft/checkpoint-00000010/state.json").exists()


def test_a_worker_that_is_killed_while_a_step_is_told_of(
    told: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal's handler raises between any two instructions, here outside of the loop."""

    def record(*_: Any) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    monkeypatch.setattr("olhar.stages._watch.Watch.record", record)
    _, error = told()
    assert "a process that prepares batches ended" in error and "train.workers" in error


def test_a_full_disk(folder: Path, goes_on: Callable[[], None]) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL))

    given = command(folder, *LONG)
    full = subprocess.run(given, env=ENVIRONMENT, capture_output=True, text=True, preexec_fn=limit, timeout=PATIENCE)
    error = checked(full.returncode, full.stderr)
    assert "cannot write: File too large" in error and "optimizer.safetensors" in error
    assert not list((folder / "runs/bad/train/1-sft").glob("checkpoint-*/state.json"))
    goes_on()
