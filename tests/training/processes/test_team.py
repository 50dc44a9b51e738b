"""A team of processes, started here or by torchrun: it agrees, and no member waits for one that is gone."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as distributed

from olhar.core.errors import StageError, UserError
from olhar.training.processes import team
from olhar.training.processes.heartbeat import Heartbeat
from olhar.training.processes.team import Team, device_of

BOUND = 120.0  # seconds in which any of this has ended by far

PROGRAM = r"""
import sys, time
import torch
from olhar.core.errors import UserError
from olhar.training.processes.team import assembled

def work(team, what):
    order = team.in_turn(lambda: time.monotonic())
    (first, *_) = team.summed([order if team.leads else 0.0])
    tensor = torch.full((2,), float(team.rank))
    team.broadcast([tensor])
    sums = team.summed([team.rank + 1.0, 0.1])
    told = ("told", team.rank, team.size, team.device, sums, tensor.tolist(), team.leads or order > first)
    sys.stdout.write(" ".join(map(str, told)) + "\n")  # in one piece
    sys.stdout.flush()
    if team.rank == 1 and what == "mistaken":
        raise UserError("a picture is broken", "a.jpg", "replace it")
    if team.rank == 1 and what == "defective":
        raise RuntimeError("a defect")
    team.summed([1.0])

if __name__ == "__main__":
    with assembled(int(sys.argv[1]), work, (sys.argv[2],), "cpu") as leading:
        work(leading, sys.argv[2])
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    return path


def ended(*command: str) -> "subprocess.CompletedProcess[str]":
    paths = [str(Path(team.__file__).parents[3]), *filter(None, sys.path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=BOUND, env=environment, check=False
    )


def told(size: int) -> list[str]:
    total = float(sum(range(1, size + 1)))
    return [f"told {rank} {size} cpu {[total, 0.1 * size]} [0.0, 0.0] True" for rank in range(size)]


def test_processes_started_here_agree(program: Path) -> None:
    done = ended(str(program), "2", "well")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == told(2)


def test_torchruns_processes_agree(program: Path) -> None:
    """Its number of processes counts, not the recipe's."""
    done = ended("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3", str(program), "1", "well")
    assert done.returncode == 0, done.stderr
    assert sorted(line[line.index("told") :] for line in done.stdout.splitlines()) == [
        line.replace("0.2", "0.3") for line in told(3)
    ]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("mistaken", "StageError: a process of this training was lost: a picture is broken (a.jpg)\n"),
        ("defective", "RuntimeError: a defect"),
    ],
)
def test_the_loss_of_a_process_ends_the_other_and_is_told(program: Path, what: str, words: str) -> None:
    done = ended(str(program), "2", what)
    assert done.returncode == 1 and words in done.stderr
    assert "StageError: a process of this training was lost" in done.stderr


def test_a_process_that_never_comes_is_not_waited_for(program: Path) -> None:
    text = program.read_text(encoding="utf-8")
    program.write_text(text.replace("import torch\n", "import torch\nif __name__ != '__main__': sys.exit(3)\n"))
    done = ended(str(program), "2", "well")
    assert done.returncode == 1 and "lost: it ended before training began" in done.stderr


def test_a_team_of_one_is_alone() -> None:
    alone, numbers = Team(), [torch.ones(1)]
    assert alone.leads and alone.summed([2.0, 3.0]) == [2.0, 3.0] and alone.in_turn(lambda: 4) == 4
    alone.broadcast(numbers)
    with pytest.raises(RuntimeError, match="as it is"), alone.guarded():
        raise RuntimeError("as it is")


def test_devices_are_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    assert [str(device_of("auto", rank, 2)) for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    assert str(device_of("cpu", 1, 2)) == "cpu"
    with pytest.raises(UserError, match="3 processes and 2 GPUs"):
        device_of("auto", 0, 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert str(device_of("auto", 1, 2)) == "cpu"
    with pytest.raises(UserError, match="1 processes and 0 GPUs"):
        device_of("cuda")


class Hearts:
    """Heartbeats of several ranks over one store, in this process; which were given up by whom."""

    def __init__(self, size: int, silence: float) -> None:
        self.store, self.given_up = distributed.HashStore(), dict[int, list[int]]()
        self.all = [
            Heartbeat(self.store, rank, size, lambda lost, rank=rank: self.given_up.update({rank: lost}), 0.02, silence)
            for rank in range(size)
        ]

    def fall_silent(self, rank: int) -> None:
        self.all[rank]._stopped.set()
        self.all[rank]._thread.join()


def until(happened: Callable[[], object]) -> bool:
    end = time.monotonic() + 20.0
    while time.monotonic() < end and not happened():
        time.sleep(0.02)
    return bool(happened())


def test_a_silent_process_is_given_up_by_all_others() -> None:
    hearts = Hearts(3, silence=3.0)
    assert hearts.all[0].lost(missed=20.0) == []
    hearts.fall_silent(1)
    assert hearts.all[0].lost(missed=2.0) == [1]
    assert until(lambda: len(hearts.given_up) == 2) and hearts.given_up == {0: [1], 2: [1]}


def test_a_process_that_is_done_is_not_missed() -> None:
    hearts = Hearts(2, silence=0.3)
    hearts.all[1].stop()
    time.sleep(0.8)
    assert not hearts.given_up
    hearts.all[0].stop()


def test_a_store_that_is_gone_took_its_process_with_it() -> None:
    class Gone:
        def set(self, *_: object) -> None:
            raise RuntimeError("connection refused")

    lost: list[list[int]] = []
    Heartbeat(Gone(), 1, 2, lost.append, 0.02)
    assert until(lambda: lost) and lost == [[0]]


def test_a_failed_collective_is_the_loss_of_a_process_only_where_one_is_silent() -> None:
    hearts = Hearts(2, silence=60.0)
    both = Team(0, 2, "cpu", hearts.all[0])
    with pytest.raises(RuntimeError, match="sizes differ"), both.guarded():
        raise RuntimeError("sizes differ")
    hearts.fall_silent(1)
    hearts.all[0].words = "no memory"
    with pytest.raises(StageError, match="was lost: no memory"), both.guarded():
        raise RuntimeError("connection closed by peer")
    hearts.all[0].stop()
