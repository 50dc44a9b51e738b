"""What is said before work begins: the same numbers as afterwards, and hardly anything spent."""

import json
from pathlib import Path

import pytest
from my_lab.engine import Shouting

from olhar.core.errors import UserError
from olhar.translation.estimate import Estimate, estimate
from olhar.translation.passes import Settings
from olhar.translation.policies import Policies
from olhar.translation.work import translate_file

SETTINGS = Settings("en", "pt", Policies())


def told(folder: Path, engine: Shouting, given: Path, settings: Settings = SETTINGS, probe: int = 50) -> Estimate:
    return estimate(given, folder / "out.json", engine, folder / "cache.db", settings, probe)


def test_the_estimate_is_what_the_work_then_does(tmp_path: Path, many: Path) -> None:
    given = many
    engine = Shouting(price=20.0)
    before = told(tmp_path, engine, given)
    assert before.probed == 50 == sum(map(len, engine.calls))
    assert [path.name for path in tmp_path.glob("out*")] == []
    asked_by_probe = {segment for call in engine.calls for segment in call}
    lengths = [sum(len(getattr(part, "text", part)) for part in segment) for segment in asked_by_probe]
    assert min(lengths) < 30 < 90 < max(lengths)  # from all lengths there are
    outcome = translate_file(given, tmp_path / "out.json", engine, tmp_path / "cache.db", SETTINGS)
    assert outcome.counts["records"] == before.records and outcome.counts["texts"] == before.texts
    assert outcome.counts["segments"] == before.segments
    assert outcome.counts["unique segments"] == before.unique == before.asked
    assert outcome.counts["segments asked for"] == before.asked - before.probed
    assert outcome.spent.money == pytest.approx(before.money)
    assert outcome.spent_before.money == pytest.approx(before.spent)
    assert outcome.spent.characters + outcome.spent_before.characters == before.characters
    after = told(tmp_path, engine, given)
    assert (after.asked, after.probed, after.money, after.hours) == (0, 0, 0.0, 0.0)
    assert after.known == after.unique


def test_time_is_that_of_the_probe(tmp_path: Path, many: Path) -> None:
    engine = Shouting(batch=10, pause=0.01)
    found = told(tmp_path, engine, many)
    assert len(engine.calls) == 5 and found.probe_seconds >= 0.05
    rest = found.hours * 3600 if found.hours else 0.0
    share = (found.asked - found.probed) / found.probed
    assert rest == pytest.approx(found.probe_seconds * share, rel=0.5)


def test_the_probe_keeps_every_worker_busy(tmp_path: Path, many: Path) -> None:
    engine = Shouting(batch=1000, concurrent=4, pause=0.05)
    told(tmp_path, engine, many)
    assert len(engine.calls) == 4 and engine.most_at_once == 4


def test_no_probe_no_hours(tmp_path: Path, many: Path) -> None:
    engine = Shouting()
    found = told(tmp_path, engine, many, probe=0)
    assert engine.calls == [] and found.hours is None and found.money == 0


def test_the_probe_too_keeps_to_the_limit_of_cost(tmp_path: Path, many: Path) -> None:
    engine = Shouting(price=1_000_000.0)
    with pytest.raises(UserError, match="cost"):
        told(tmp_path, engine, many, Settings("en", "pt", Policies(), max_cost=1.0))
    assert engine.calls == []


def test_a_small_file_is_probed_whole(tmp_path: Path) -> None:
    given = tmp_path / "in.json"
    given.write_text(json.dumps([{"question": "Where is it?", "answer": "Over there, on the left."}]), encoding="utf-8")
    found = told(tmp_path, Shouting(), given)
    assert (found.asked, found.probed, found.hours) == (2, 2, 0.0)
