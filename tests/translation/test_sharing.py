"""Machines with nothing but a common folder make what one makes, ask for nothing twice, and lose at most a batch."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from my_lab.engine import Shouting
from my_lab.machines import QUICK, SETTINGS, alone, asked, logged, merged, of_share
from my_lab.mortal import Mortal
from my_lab.mortal import Options as MortalOptions

from olhar.core.errors import UserError
from olhar.translation import shards, sharing
from olhar.translation.pace import Purse
from olhar.translation.passes import Settings
from olhar.translation.policies import Policies
from olhar.translation.sharing import Share, share, translate_share
from olhar.translation.wording import characters

HERE = Path(__file__).parent


def test_what_the_command_line_says() -> None:
    assert share("3/8") == Share(3, 8)
    for wrong in ("0/3", "4/3", "3", "a/b", "1/0", "1/3 "):
        with pytest.raises(UserError, match="no share"):
            share(wrong)


@given(some.binary(min_size=32, max_size=32), some.integers(1, 20))
def test_each_segment_is_in_one_share(key: bytes, of: int) -> None:
    assert sum(Share(number, of).owns(key) for number in range(1, of + 1)) == 1


@pytest.mark.parametrize("keeps", [True, False])
def test_shares_make_what_one_process_makes(records: Path, tmp_path: Path, small: None, keeps: bool) -> None:
    """Numbers get lost, so there is a second method; a second round asks for its pieces, each once in all machines."""
    faults = {"ships": "drop"} if keeps else {"carry 7": "final"}
    whole = Shouting(faults=faults, keeps=keeps)
    wanted = alone(records, tmp_path, whole)
    rounds = [
        of_share(records, tmp_path, f"{number}/3", Shouting(faults=faults, keeps=keeps))[0]
        for _ in range(2)
        for number in (1, 2, 3)
    ]
    last = Shouting(faults=faults, keeps=keeps)
    assert merged(records, tmp_path, last) == wanted
    assert asked(*rounds) == asked(whole)
    assert not last.calls
    assert all(engine.calls for engine in rounds[:3])
    files = {path.name for path in tmp_path.iterdir()}
    assert not any(name.endswith(("-wal", "-shm")) or "partial" in name for name in files)


def test_what_waits_for_other_shares_is_asked_where_they_are_merged(records: Path, tmp_path: Path, small: None) -> None:
    faults = {"ships": "drop"}
    wanted = alone(records, tmp_path, Shouting(faults=faults))
    outcomes = [of_share(records, tmp_path, f"{number}/4", Shouting(faults=faults))[1] for number in (1, 2, 3, 4)]
    assert outcomes[0].counts["segments without an answer yet"] > outcomes[3].counts["segments without an answer yet"]
    last = Shouting(faults=faults)
    assert merged(records, tmp_path, last) == wanted
    assert 0 < len(asked(last)) < 20


def test_a_finished_share_asks_for_nothing(records: Path, tmp_path: Path, small: None, single: bytes) -> None:
    of_share(records, tmp_path, "1/1")
    again, outcome = of_share(records, tmp_path, "1/1")
    assert not again.calls and outcome.counts["segments asked for"] == 0
    elsewhere = Shouting()
    translate_share(records, tmp_path / "pt.json", elsewhere, tmp_path / "new.db", SETTINGS, Share(1, 1))
    assert not elsewhere.calls


def test_what_a_machine_knew_already_is_in_its_files(records: Path, tmp_path: Path, small: None, single: bytes) -> None:
    (tmp_path / "single.db").rename(tmp_path / "machine-1-2.db")
    known, _ = of_share(records, tmp_path, "1/2")
    other, _ = of_share(records, tmp_path, "2/2")
    last = Shouting()
    assert merged(records, tmp_path, last) == single
    assert not known.calls and other.calls and not last.calls


def test_files_may_be_exchanged(records: Path, tmp_path: Path, small: None, single: bytes) -> None:
    for number in (1, 2):
        there = tmp_path / f"there-{number}"
        there.mkdir()
        translate_share(records, there / "pt.json", Shouting(), there / "c", SETTINGS, Share(number, 2))
        (tmp_path / "pt.json.shards").mkdir(exist_ok=True)
        for path in (there / "pt.json.shards").iterdir():
            path.rename(tmp_path / "pt.json.shards" / path.name)
    assert merged(records, tmp_path, Shouting()) == single


def test_an_engine_that_refuses_keeps_what_came_before(
    records: Path, tmp_path: Path, small: None, single: bytes
) -> None:
    broken = Shouting(batch=4, faults={"dfling": "refuse"})
    with pytest.raises(UserError, match="the key is refused"):
        of_share(records, tmp_path, "1/1", broken)
    with pytest.raises(UserError, match="not finished: 1/1"):
        merged(records, tmp_path, Shouting())
    mended, _ = of_share(records, tmp_path, "1/1")
    twice = [segment for segment, times in asked(broken, mended).items() if times > 1]
    assert 0 < len(twice) <= 4 and asked(broken)
    assert merged(records, tmp_path, Shouting()) == single


def test_a_killed_machine_repeats_one_batch(records: Path, tmp_path: Path, small: None, single: bytes) -> None:
    options = {"log": str(tmp_path / "log"), "batch": 4, "dies_at": "dfling", "grave": str(tmp_path / "grave")}
    command = [sys.executable, "-m", "my_lab.machines", str(records), str(tmp_path), json.dumps(options)]
    killed = subprocess.run(command, check=False, timeout=60, env={**os.environ, "PYTHONPATH": str(HERE)})
    assert killed.returncode == -signal.SIGKILL
    files = list((tmp_path / "pt.json.shards").glob("*" + shards.ENDING))
    assert files
    of_share(records, tmp_path, "1/1", Mortal(MortalOptions(**options)))
    times = logged(tmp_path / "log")
    assert 0 < sum(count - 1 for count in times.values()) <= 4 and max(times.values()) == 2
    last = Shouting()
    assert merged(records, tmp_path, last) == single and not last.calls


def test_failures_are_asked_again_when_that_is_said(records: Path, tmp_path: Path, small: None, single: bytes) -> None:
    of_share(records, tmp_path, "1/1", Shouting(faults={"ling": "final"}))
    again = Settings("en", "pt", Policies(), patience=QUICK, retry_failed=True)
    still, _ = of_share(records, tmp_path, "1/1")
    assert not still.calls
    mended, _ = of_share(records, tmp_path, "1/1", settings=again)
    assert mended.calls
    last = Shouting()
    assert merged(records, tmp_path, last) == single and not last.calls


def test_money_and_rate_are_divided(records: Path, tmp_path: Path, small: None) -> None:
    limited = Settings("en", "pt", Policies(), patience=QUICK, max_cost=0.001)
    spent = []
    for number in (1, 2):
        engine = Shouting(price=1.0, batch=4)
        with pytest.raises(UserError, match=r"more than the 0\.0005"):
            of_share(records, tmp_path, f"{number}/2", engine, limited)
        spent.append(sum(map(characters, asked(engine).elements())) / 1e6)
    assert all(0 < money <= 0.0005 for money in spent)
    engine = Shouting()
    engine.limits = type(engine.limits)(calls_per_minute=120)
    caller = shards.caller_of_one(engine, SETTINGS, 4, Purse(engine.limits))
    assert caller.pace._rate == 0.5


def test_costs_reach_the_manifest_once(records: Path, tmp_path: Path, small: None) -> None:
    total = 0.0
    for number in (1, 2):
        total += of_share(records, tmp_path, f"{number}/2", Shouting(price=1.0))[1].spent.money
    merged(records, tmp_path, Shouting(price=1.0))
    told = json.loads((tmp_path / "pt.json.manifest.json").read_text(encoding="utf-8"))
    assert told["spent"]["money"] == pytest.approx(total) and total > 0
    (tmp_path / "pt.json").unlink()
    merged(records, tmp_path, Shouting(price=1.0))
    assert json.loads((tmp_path / "pt.json.manifest.json").read_text(encoding="utf-8"))["spent"] == told["spent"]


def test_what_cannot_be_merged_is_told(records: Path, tmp_path: Path, small: None) -> None:
    of_share(records, tmp_path, "1/3")
    of_share(records, tmp_path, "3/3")
    with pytest.raises(UserError, match="not finished: 2/3"):
        merged(records, tmp_path, Shouting())
    of_share(records, tmp_path, "2/3")
    other = Settings("en", "pt", Policies(key="kind"), patience=QUICK)
    with pytest.raises(UserError, match="other policies"):
        merged(records, tmp_path, Shouting(), other)
    newer = Shouting()
    newer.about = type(newer.about)("my_lab.engine", "2", "none")
    for path in (tmp_path / "pt.json.shards").glob("share-*"):
        path.unlink()
    with pytest.raises(UserError, match=r"my_lab\.engine 2 from en to pt \(\d+ are of other"):
        merged(records, tmp_path, newer)
    (tmp_path / "pt.json.shards" / f"x{shards.ENDING}").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be used"):
        merged(records, tmp_path, Shouting())


def test_two_machines_with_one_number_are_told(records: Path, tmp_path: Path) -> None:
    with closing(sharing.Wanted(tmp_path / "pt.json.share-1-of-2")), pytest.raises(UserError, match="another olhar"):
        of_share(records, tmp_path, "1/2")
