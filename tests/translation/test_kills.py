"""kill -9 at random moments: bytes as in an undisturbed run, and nothing that came back is asked for again (I7, I8)."""

from pathlib import Path

from killed import asked, killed_then_finished, moments, started

KILLS, BATCH, WORKERS, PAUSE = 6, 4, 2, 0.05  # about 4 seconds undisturbed


def test_kills_cost_at_most_a_batch_a_worker_each(tmp_path: Path, many: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert started(many, whole / "out.json", whole / "log", 0.0, BATCH, WORKERS).wait() == 0
    killed = tmp_path / "killed"
    killed.mkdir()
    output, log = killed / "out.json", killed / "log"
    hit = killed_then_finished(many, output, log, PAUSE, BATCH, WORKERS, moments(KILLS, 0.8, seed=3))
    assert hit == KILLS
    assert output.read_bytes() == (whole / "out.json").read_bytes()
    once, often = asked(whole / "log"), asked(log)
    assert set(once.values()) == {1} and often.keys() == once.keys()
    again = sum(times - 1 for times in often.values())
    assert 0 < again <= KILLS * BATCH * WORKERS
    assert sorted(path.name for path in killed.iterdir()) == [
        "cache.db",
        "log",
        "out.json",
        "out.json.flagged.jsonl",
        "out.json.manifest.json",
    ]
