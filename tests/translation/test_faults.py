"""The whole way of a file with an engine that does everything wrong: what fails stays as it was, and is told (I10)."""

import json
from pathlib import Path

import pytest
from my_lab.engine import Shouting
from running import RECORDS, Run, put

from olhar.translation.cache import correction_key
from olhar.translation.editing import LEFT
from olhar.translation.pace import Patience

BAD = "One of them is red."  # the sentence that the faults concern


@pytest.mark.parametrize("fault", ["none", "final", "raise", "short", "empty", "text"])
def test_a_sentence_that_fails_stays_as_it_was_and_is_flagged(tmp_path: Path, fault: str) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    run = Run(tmp_path, Shouting(faults={BAD: fault}), given)
    assert run.turn(0, 1) == f"THERE ARE 2 TRAINS. {BAD}\n\nIT STANDS STILL."
    (flag,) = run.flags
    assert (flag["row"], flag["record"], flag["outcome"]) == (1, "000000148540", LEFT)
    assert flag["place"] == ["conversations", 1, "value"] and flag["source"] == BAD and flag["role"] == "answer"
    assert flag["key"] == correction_key("en", "pt", json.dumps([BAD])).hex()
    assert not run.outcome.whole and run.outcome.counts[f"flags: {LEFT}"] == 1
    again = Shouting()
    second = Run(tmp_path, again, given, "again.json")
    assert again.calls == [] and second.path.read_bytes() == run.path.read_bytes()
    third = Run(tmp_path, again, given, "third.json", retry_failed=True)
    assert len(again.calls) == 1 and third.outcome.whole


def test_what_did_not_come_this_time_is_asked_for_in_the_next_run(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    run = Run(tmp_path, Shouting(faults={BAD: "busy"}, pause=0), given, patience=Patience(1, 99, 0.0, 0.0))
    assert BAD in run.turn(0, 1) and "429" in run.flags[0]["reasons"]
    again = Shouting()
    assert Run(tmp_path, again, given, "again.json").outcome.whole
    assert [len(call) for call in again.calls] == [1]


@pytest.mark.parametrize("fault", ["drop", "twice", "turn"])
def test_a_lost_span_is_mended_by_the_pieces(tmp_path: Path, fault: str) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    run = Run(tmp_path, Shouting(faults={'It says "STOP" and then "GO" in big letters.': fault}), given)
    assert run.turn(1, 1) == 'IT SAYS "STOP" AND THEN "GO" IN BIG LETTERS.'
    assert run.outcome.counts["segments by second method"] == 1 and run.outcome.whole


def test_nothing_that_is_broken_gets_through(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    engine = Shouting(faults={"STOP": "drop", "big": "final"})
    run = Run(tmp_path, engine, given)
    assert run.turn(1, 1) == RECORDS[1]["conversations"][1]["value"]
    assert run.flags[0]["outcome"] == LEFT and len(run.flags[0]["reasons"]) == 2


def test_every_fault_at_once_loses_no_record(tmp_path: Path, conversations: Path) -> None:
    """The public failures of other tools, all in one engine: whatever it does, media, numbers and records stay."""
    words = {
        " a ": "drop",
        "car": "twice",
        "the ": "turn",
        "is": "spaces",
        "dog": "none",
        "red": "raise",
        "sky": "short",
    }
    given = conversations / "llava_bench_wild.json"
    run = Run(tmp_path, Shouting(batch=8, faults=words), given, patience=Patience(1, 10**6, 0.0, 0.0))
    before = json.loads(given.read_text(encoding="utf-8"))
    assert [record["id"] for record in run.records] == [record["id"] for record in before]
    for record, source in zip(run.records, before, strict=True):
        for turn, original in zip(record["conversations"], source["conversations"], strict=True):
            for fragile in ("<image>", "\n", '"'):
                assert turn["value"].count(fragile) == original["value"].count(fragile)
            assert [c for c in turn["value"] if c.isdigit()] == [c for c in original["value"] if c.isdigit()]
    assert run.flags
