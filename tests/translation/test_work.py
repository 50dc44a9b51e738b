"""The whole way of a file, with an engine that shouts: invariants I1, I2, I8, I9, I11, I12."""

import json
import random
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from my_lab.engine import Shouting
from running import RECORDS, Run, put

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Sample, Turn, sample_from_json, sample_to_json
from olhar.translation.cache import Cache, Correction, correction_key
from olhar.translation.editing import LEFT, LEFT_OUT
from olhar.translation.passes import Settings
from olhar.translation.policies import Policies, Policy
from olhar.translation.work import FLAGGED, Outcome, beside, translate_file


def test_only_the_words_change(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    engine = Shouting()
    run = Run(tmp_path, engine, given)
    assert run.turn(0, 0) == "<image>\nHOW MANY TRAINS ARE THERE?"
    assert run.turn(0, 1) == "THERE ARE 2 TRAINS. ONE OF THEM IS RED.\n\nIT STANDS STILL."
    assert run.turn(1, 0) == "WHAT DOES THE SIGN SAY?\n<image>"
    assert run.turn(1, 1) == 'IT SAYS "STOP" AND THEN "GO" IN BIG LETTERS.'
    back = run.path.read_text(encoding="utf-8")
    for record in RECORDS:
        for turn in record["conversations"]:
            text = json.dumps(turn["value"], ensure_ascii=False)
            shouted = text.upper().replace("<IMAGE>", "<image>").replace("\\N", "\\n")
            assert shouted in back
            back = back.replace(shouted, text, 1)
    assert back == given.read_text(encoding="utf-8")
    assert all("<image>" not in str(segment) for call in engine.calls for segment in call)
    assert run.outcome.whole and run.flags == []


def test_the_manifest_tells_with_what_it_was_made(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    run = Run(tmp_path, Shouting(), given, target="pt-BR", options={"formality": "formal"})
    told = run.manifest
    assert (told["source"], told["target"], told["engine"]["name"]) == ("en", "pt-BR", "my_lab.engine")
    assert told["counts"]["records"] == 2 and told["counts"]["texts"] == 4
    assert told["spent"]["calls"] == 1 and told["options"] == {"formality": "formal"}
    assert Policies.model_validate(told["policies"]) == Policies()
    assert not list(tmp_path.glob("*.partial"))


def test_each_segment_is_sent_once_and_a_second_run_sends_nothing(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS * 3)
    engine = Shouting(batch=2)
    first = Run(tmp_path, engine, given)
    sent = Counter(segment for call in engine.calls for segment in call)
    assert set(sent.values()) == {1}
    again = Shouting()
    second = Run(tmp_path, again, given, "again.json")
    assert again.calls == [] and second.outcome.spent.calls == 0
    assert second.path.read_bytes() == first.path.read_bytes()


@pytest.mark.parametrize("keeps", [True, False])
def test_bytes_depend_on_nothing_but_the_records(tmp_path: Path, conversations: Path, keeps: bool) -> None:
    records = json.loads((conversations / "llava_multiturn.json").read_text(encoding="utf-8"))[:12]
    given = put(tmp_path / "in.json", records)
    whole = Run(tmp_path, Shouting(keeps=keeps), given).path.read_bytes()
    for batch, workers in ((1, 1), (7, 3), (1000, 2)):
        folder = tmp_path / f"{batch}"
        folder.mkdir()
        engine = Shouting(keeps=keeps, concurrent=4)
        assert Run(folder, engine, given, batch=batch, workers=workers).path.read_bytes() == whole
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    random.Random(1).shuffle(records)
    shuffled = Run(mixed, Shouting(keeps=keeps), put(mixed / "in.json", records)).records
    by_id = {record["id"]: record for record in json.loads(whole)}
    assert shuffled == [by_id[record["id"]] for record in records]


def test_engines_get_segments_from_short_to_long(tmp_path: Path, conversations: Path) -> None:
    engine = Shouting(batch=5)
    Run(tmp_path, engine, conversations / "llava_prompts.json")
    sent = [segment for call in engine.calls for segment in call]
    lengths = [sum(len(getattr(part, "text", part)) for part in segment) for segment in sent]
    assert lengths == sorted(lengths) and len(sent) == len(set(sent))


def test_what_people_wrote_wins_over_every_engine(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    with closing(Cache(tmp_path / "cache.db")) as cache:
        text = json.dumps(["One of them is red."])
        cache.correct([Correction(correction_key("en", "pt", text), ("Um deles é vermelho.",))])
    engine = Shouting()
    run = Run(tmp_path, engine, given)
    assert "Um deles é vermelho." in run.turn(0, 1)
    assert all(("One of them is red.",) not in call for call in engine.calls)
    assert run.outcome.counts["segments by correction"] == 1


def test_bad_rows_are_counted_and_told(tmp_path: Path) -> None:
    given = tmp_path / "in.jsonl"
    lines = [json.dumps(RECORDS[0]), '{"id": 3', json.dumps({"conversations": [{"from": "tool", "value": "x"}]})]
    given.write_text("\n".join([*lines, json.dumps({"foo": 1}), json.dumps(RECORDS[1])]), encoding="utf-8")
    run = Run(tmp_path, Shouting(), given, "out.jsonl")
    written = run.path.read_text(encoding="utf-8").splitlines()
    assert len(written) == 4 and json.loads(written[1]) == json.loads(lines[2]) and json.loads(written[2]) == {"foo": 1}
    told = [(flag["row"], flag["outcome"], flag["reasons"][0].partition(":")[0]) for flag in run.flags]
    assert told == [(2, LEFT_OUT, "not JSON"), (3, LEFT, "unknown role"), (4, LEFT, "unknown record")]
    assert run.outcome.counts["rows"] == 5 and run.outcome.counts["records"] == 2 and not run.outcome.whole


def test_a_file_of_unknown_records_is_refused_with_its_keys(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", [{"prompt": "x", "response": "y"}])
    with pytest.raises(UserError, match="prompt, response"):
        Run(tmp_path, Shouting(), given)
    assert not (tmp_path / "out.json").exists() and not list(tmp_path.glob("*.partial"))


def test_partitions_are_skipped_as_their_policy_says(tmp_path: Path) -> None:
    records = [{**RECORDS[0], "image": f"{name}/1.jpg", "id": name} for name in ("a", "b", "c")]
    policies = Policies(partitions={"a": Policy(skip="copy"), "b": Policy(skip="omit")})
    engine = Shouting()
    run = Run(tmp_path, engine, put(tmp_path / "in.json", records), policies=policies)
    assert [record["id"] for record in run.records] == ["a", "c"]
    assert run.records[0] == records[0] and "TRAINS" in run.turn(1, 1)
    assert run.outcome.counts["records skipped: copy"] == run.outcome.counts["records skipped: omit"] == 1
    assert run.outcome.whole


def test_options_and_answers_are_kept_or_translated_together(tmp_path: Path) -> None:
    record = {"question": "What does it say?", "choices": ["Main Street", "Stop here"], "answer": "Main Street"}
    given = put(tmp_path / "in.json", [{**record, "image": "textvqa/1.jpg"}, {**record, "image": "coco/1.jpg"}])
    run = Run(tmp_path, Shouting(), given)
    assert run.records[0]["choices"] == record["choices"] and run.records[0]["answer"] == "Main Street"
    assert run.records[1]["choices"] == ["MAIN STREET", "STOP HERE"] and run.records[1]["answer"] == "MAIN STREET"
    assert [each["question"] for each in run.records] == ["WHAT DOES IT SAY?"] * 2


def test_provenance_stands_in_foreign_records_only_where_it_is_asked_for(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    assert Run(tmp_path, Shouting(), given).records[0].keys() == RECORDS[0].keys()
    run = Run(tmp_path, Shouting(), given, "with.json", provenance_key="made_by")
    told = run.records[0]["made_by"]
    assert told["engine"] == "my_lab.engine" and told["partition"] == "coco" and told["answers"] == "translate"
    assert list(run.records[0])[:-1] == list(RECORDS[0])
    taken = Run(tmp_path, Shouting(), given, "taken.json", provenance_key="extra")
    assert taken.records[0] == RECORDS[0] and taken.flags[0]["reasons"][0].startswith("provenance has no place")


def samples_translated(
    samples: list[Sample], given: Path, engine: Shouting
) -> tuple[Outcome, list[Sample], list[dict[str, Any]]]:
    """A data set's samples through the file that they are stored in."""
    given.write_text("".join(json.dumps(sample_to_json(sample)) + "\n" for sample in samples), encoding="utf-8")
    output = given.with_name(f"{given.stem}.pt.jsonl")
    outcome = translate_file(given, output, engine, given.with_name("c"), Settings("en", "pt", Policies()))
    rows, flags = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (output, beside(output, FLAGGED))
    )
    return outcome, list(map(sample_from_json, rows)), flags


def test_samples_of_olhar(tmp_path: Path) -> None:
    turns = (Turn("user", ("What is this?", ImageRef("a.jpg"))), Turn("assistant", ("A red train.",)))
    samples = [
        Sample("1", "en", turns, "coco", None, {"width": 5}),
        Sample("2", "pt", turns, "coco"),
        Sample("3", "en", (Turn("user", (ImageRef("a.jpg"), "What is this?")), turns[1]), "coco"),
    ]
    engine = Shouting()
    outcome, made, flags = samples_translated(samples, tmp_path / "subject.jsonl", engine)
    assert [(sample.id, sample.language, sample.parent) for sample in made] == [
        ("1", "pt", "1"),
        ("2", "pt", None),
        ("3", "pt", "3"),
    ]
    assert made[0].turns[0].parts == ("WHAT IS THIS?", ImageRef("a.jpg")) and made[0].turns[1].text == "A RED TRAIN."
    assert made[0].meta["width"] == 5 and made[0].meta["translation"]["answers"] == "translate"
    assert made[1] == samples[1] and flags[0]["reasons"] == ["another language: the record is in 'pt', not 'en'"]
    assert outcome.counts["records"] == 2 and sum(map(len, engine.calls)) == 2
    named = [Sample("1", "en", (Turn("user", ("What is it?",)), Turn("assistant", ("Main Street",))), "textvqa")]
    made += samples_translated(named, tmp_path / "other.jsonl", engine)[1]
    assert made[-1].turns[1].text == "Main Street" and made[-1].meta["translation"]["answers"] == "keep"
    assert not list(tmp_path.glob("*.partial"))


def test_an_output_that_is_there_stays(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    (tmp_path / "out.json").write_text("mine", encoding="utf-8")
    engine = Shouting()
    with pytest.raises(UserError, match="nothing is overwritten"):
        Run(tmp_path, engine, given)
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == "mine" and engine.calls == []


def test_an_engine_that_stops_costs_nothing_twice(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    engine = Shouting(batch=1, faults={"says": "refuse", "SAYS": "refuse"})
    with pytest.raises(UserError, match="refused"):
        Run(tmp_path, engine, given)
    assert not (tmp_path / "out.json").exists() and not list(tmp_path.glob("*.partial"))
    again = Shouting(batch=1)
    assert Run(tmp_path, again, given).outcome.whole
    done = {segment for call in engine.calls[:-1] for segment in call}
    assert done and not done & {segment for call in again.calls for segment in call}


def test_the_limit_of_cost_holds_over_all_runs(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)
    price = 1_000_000.0  # 1 a character
    for _ in range(3):
        with pytest.raises(UserError, match="cost"):
            Run(tmp_path, Shouting(batch=1, price=price), given, max_cost=60.0)
    run = Run(tmp_path, Shouting(batch=1, price=price), given, max_cost=1000.0)
    assert run.outcome.spent_before.money <= 60.0
    spent = run.manifest["spent"]
    assert spent["money"] == spent["characters"] and spent["calls"] == run.outcome.counts["unique segments"]


def test_two_processes_do_not_write_one_output(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)

    class Meanwhile(Shouting):
        def translate(self, segments: Any) -> Any:
            with pytest.raises(UserError, match="another olhar"):
                Run(tmp_path, Shouting(), given)
            return super().translate(segments)

    assert Run(tmp_path, Meanwhile(), given).outcome.whole


def test_a_file_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    given = put(tmp_path / "in.json", RECORDS)

    class Meanwhile(Shouting):
        def translate(self, segments: Any) -> Any:
            put(given, RECORDS[:1])
            return super().translate(segments)

    with pytest.raises(UserError, match="changed"):
        Run(tmp_path, Meanwhile(), given)
    assert not (tmp_path / "out.json").exists()
