"""Training by two processes: the same numbers as by one, and no process outlives or outwaits another."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = Path(__file__).with_name("tiny.toml")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
STAGE = (
    'name = "all", mixture = "everything", steps = 12, warmup_steps = 2, batch = 8, optimizer = "muon", '
    "trains = { vision = 2e-3, connector = 2e-3, language = 2e-3 }"
)
PLAIN = ("train.precision=fp32", f"train.stages=[{{ {STAGE} }}]")
ENDLESS = ("train.stages.0.steps=1000000",)
PATIENCE = 180.0  # seconds in which something must have happened


def command(*overrides: str) -> list[str]:
    told = [part for override in overrides for part in ("--set", override)]
    return [sys.executable, "-m", "olhar.cli", "train", str(RECIPE), *told]


def losses(folder: Path, stage: str) -> list[float]:
    lines = (folder / "runs" / "tiny" / "train" / stage / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def named(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


def until(happened: object, seconds: float = PATIENCE) -> bool:
    """Whether ``happened()`` became true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happened():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def training(tmp_path: Path) -> subprocess.Popen[str]:
    """Two processes in the middle of an endless stage."""
    running = subprocess.Popen(
        command("train.processes=2", *ENDLESS), cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "runs" / "tiny" / "train" / "1-tower" / "steps.jsonl"
    assert until(lambda: log.exists() and log.stat().st_size > 500)
    return running


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """Same packs, same weights of every token: the losses differ by rounding only."""
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        done = subprocess.run(
            command(f"train.processes={processes}", *PLAIN), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    one, two = (losses(tmp_path / name, "1-all") for name in ("1", "2"))
    assert len(one) == 12 and two == pytest.approx(one, rel=1e-4)


def test_torchrun_starts_what_trains_spread_over_processes(tmp_path: Path) -> None:
    """The whole of ``olhar train`` under torchrun: all stages, accumulated, and one process alone writes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    stages = [f"train.stages.{number}.micro_batch=2" for number in (0, 1)]
    short = [f"train.stages.{number}.steps=6" for number in (0, 1)]
    told = command("train.device=cpu", "train.sharding=shard", *stages, *short)
    done = subprocess.run([*launch, *told[1:]], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(len(losses(tmp_path, stage)) == 6 for stage in ("1-tower", "2-skills"))
    folder = tmp_path / "runs" / "tiny" / "train"
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["counts"]["processes"] == 2
    assert (folder / "model" / "model.safetensors").exists()
    assert (folder / "2-skills" / "checkpoint-00000006" / "weights").is_dir()


def test_a_lost_process_is_told(training: subprocess.Popen[str]) -> None:
    other = next(child for child in children(training.pid) if "spawn_main" in named(child))
    os.kill(other, signal.SIGKILL)
    _, told = training.communicate(timeout=PATIENCE)
    assert training.returncode == 2 and "a process of this training was lost" in told


def test_no_process_outlives_a_killed_training(training: subprocess.Popen[str]) -> None:
    others = [child for child in children(training.pid) if "spawn_main" in named(child)]
    assert others
    training.kill()
    training.wait()
    assert until(lambda: not any(named(child) for child in others))
