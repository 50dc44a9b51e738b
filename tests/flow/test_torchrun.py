"""The command under torchrun: it learns what one process learns, speaks with one voice, and outlives a lost process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from olhar.cli import app

RECIPE = Path(__file__).with_name("tiny.toml")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
STEPS, KILLED = 24, 8
STAGE = (
    f'name = "all", mixture = "everything", steps = {STEPS}, warmup_steps = 2, batch = 4, '
    "trains = { vision = 2e-3, connector = 2e-3, language = 2e-3 }"
)
SHORT = (
    'ingest.0.options={ split = "train", scenes = 8, nouns = 20 }',
    'ingest.1.options={ split = "composition", per_skill = 1, nouns = 20 }',
    f"train.stages=[{{ {STAGE} }}]",
    "train.precision=fp32",
    "train.workers=0",
    "train.checkpoint_steps=4",
    "publish.tower=false",
)
PATIENCE = 100.0  # seconds, far more than anything here needs


def olhar(stage: str, *more: str) -> list[str]:
    told = [part for override in (*SHORT, *more) for part in ("--set", override)]
    return ["-m", "olhar.cli", stage, str(RECIPE), *told]


def torchrun(stage: str, *more: str) -> list[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = ("--master-addr", "127.0.0.1", "--master-port", str(port))
    started = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *place]
    return [*started, *olhar(stage, *more)]


def finished(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def records(folder: Path) -> list[dict[str, Any]]:
    log = folder / "runs" / "tiny" / "train" / "1-all" / "steps.jsonl"
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def losses(folder: Path) -> list[float]:
    assert [line["step"] for line in records(folder)] == list(range(1, STEPS + 1))
    return [line["loss"] for line in records(folder)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of one process."""
    folder = tmp_path_factory.mktemp("alone")
    finished([sys.executable, *olhar("train")], folder)
    return losses(folder)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which two processes ran the whole recipe, and what they said."""
    folder = tmp_path_factory.mktemp("together")
    return folder, finished(torchrun("run"), folder)


def test_two_processes_learn_what_one_learns(together: tuple[Path, str], alone: list[float]) -> None:
    assert losses(together[0]) == pytest.approx(alone, abs=1e-5)
    manifest = json.loads((together[0] / "runs/tiny/train/manifest.json").read_text(encoding="utf-8"))
    assert manifest["counts"]["processes"] == 2


def test_only_the_first_process_speaks(together: tuple[Path, str]) -> None:
    """Every stage is done once, and the scores are shown once."""
    folder, said = together
    for stage in ("ingest", "check", "mix", "train", "evaluate", "publish"):
        assert said.count(f"→ {stage}") == said.count(f"✓ {stage}") == 1
        assert (folder / "runs" / "tiny" / stage / "manifest.json").exists()
    assert said.count("report: ") == said.count("talk with it: ") == 1


@pytest.mark.parametrize("stage", ["run", "train", "evaluate"])
def test_further_processes_have_nothing_to_do_in_a_finished_run(
    stage: str, together: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(together[0])
    monkeypatch.setenv("RANK", "1")
    asked = CliRunner().invoke(app, [*olhar(stage)[2:], "--json"])
    assert asked.exit_code == 0 and asked.output == ""


def test_a_sharded_run_loses_a_process_and_goes_on_in_one(tmp_path: Path, alone: list[float]) -> None:
    command = torchrun("train", "train.sharding=shard")
    running = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    assert until(lambda: len(records(tmp_path)) >= KILLED or running.poll() is not None)
    first, second = sorted(children(running.pid), key=lambda child: "RANK=1" in environment(child))
    os.kill(second, signal.SIGKILL)
    _, told = running.communicate(timeout=PATIENCE)
    assert running.returncode != 0 and "Signal 9 (SIGKILL) received" in told
    assert "[rank0]: Traceback" not in told, told  # torchrun may end it before it has said what it lost
    assert not Path(f"/proc/{first}").exists()
    assert KILLED <= len(records(tmp_path)) < STEPS
    said = finished([sys.executable, *olhar("train", "train.sharding=shard")], tmp_path)
    assert "continues an interrupted run" in said
    assert losses(tmp_path) == pytest.approx(alone, abs=1e-5)


def until(happened: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if happened():
            return True
        time.sleep(0.05)
    return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def environment(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")
