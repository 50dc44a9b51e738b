"""A translated file opened again: what people see of it, and what becomes of what they correct."""

import csv
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from olhar.core.errors import UserError
from olhar.translation.cache import Cache
from olhar.translation.corrections import Imported, aligned, import_corrections
from olhar.translation.exchange import ENDINGS, export
from olhar.translation.passages import Line, Passage, Remark, marked
from olhar.translation.passes import Settings
from olhar.translation.policies import Policies, Policy
from olhar.translation.review import Tally, all_rows, review, rows_shown
from olhar.translation.translated import Translated, open_translated, passages_of
from olhar.translation.work import MANIFEST, beside, translate_file
from olhar.translators import About, Failure, Kept, Limits, Segment

WORDS = {"Where": "Onde", "What": "O que", "is": "está", "The": "O", "the": "o", "dog": "cão", "on": "sobre"}
WORDS |= {"sleeps": "dorme", "chair.": "banco.", "red.": "vermelho.", "dog?": "cão?", "sign?": "cartaz?", "See": "Veja"}


class Engine:
    """Word by word; refuses what holds "secret"."""

    about = About("wordwise", "2", "CC-BY-4.0")
    limits = Limits()
    keeps = True
    deterministic = True

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        return [self._one(segment) for segment in segments]

    def _one(self, segment: Segment) -> Segment | Failure:
        if any(isinstance(part, str) and "secret" in part for part in segment):
            return Failure("refused: it is secret")
        return tuple(part if isinstance(part, Kept) else self._words(part) for part in segment)

    def _words(self, text: str) -> str:
        return " ".join(WORDS.get(word, word) for word in text.split(" "))

    def close(self) -> None: ...


def record(name: Any, *texts: str, image: str = "gqa/1.jpg") -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[index % 2], "value": text} for index, text in enumerate(texts)]
    return {"id": name, "image": image, "conversations": turns}


RECORDS = [
    record("001", "<image>\nWhere is the dog?", "The dog sleeps on the chair. The dog is red."),
    record(2, "What is the secret of the dog?\n<image>", "The dog is red."),
    record("003", "<image>\nIs the dog red?", "Yes", "Where is the dog?", "See `two(12)` on the chair."),
    record("004", "<image>\nWhat is on the sign?", "green park", image="textvqa/4.jpg"),
    {"id": "broken", "words": 1},
]


def translated(folder: Path, records: Sequence[Any] = RECORDS, **policies: Any) -> Translated:
    given, output = folder / "en.json", folder / "pt.json"
    output.unlink(missing_ok=True)
    given.write_text(json.dumps(records))
    translate_file(given, output, Engine(), folder / "cache.sqlite", Settings("en", "pt-BR", Policies(**policies)))
    return open_translated(output)


def imported(translated: Translated, path: Path, who: str = "") -> Imported:
    codes = (translated.direction.source, translated.direction.target)
    with closing(Cache(translated.cache)) as cache:
        return import_corrections(path, cache, translated.source, translated.target, codes, who)


def stored(translated: Translated) -> dict[str, tuple[str, str, str]]:
    """Source -> (translation, who, when)."""
    with closing(Cache(translated.cache)) as cache:
        rows = list(cache.all_corrections())
    return {
        str(row.segment): ("".join(getattr(x, "text", x) for x in row.translation), row.who, row.when) for row in rows
    }


def line_of(translated: Translated, source: str) -> Line:
    lines = [line for passage in passages_of(translated) for line in passage.lines]
    return next(line for line in lines if line.source_text == source)


# --- what is seen


def test_every_text_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    passages = list(passages_of(translated(tmp_path)))
    told = [(passage.row, passage.record, passage.place, passage.role, passage.policy) for passage in passages]
    third = [(3, "003", f"turn {n}", ("answer", "question")[n % 2], "gqa") for n in range(1, 5)]
    assert told == [
        (1, "001", "turn 1", "question", "gqa"),
        (1, "001", "turn 2", "answer", "gqa"),
        (2, "2", "turn 1", "question", "gqa"),
        (2, "2", "turn 2", "answer", "gqa"),
        *third,
        (4, "004", "turn 1", "question", "textvqa"),
        (4, "004", "turn 2", "answer", "textvqa"),
        (5, "broken", "record", "", ""),
    ]
    assert passages[1].before == "<image> Where is the dog?"
    assert not any(passage.stale for passage in passages)
    assert passages[-1].rank == "left" and passages[-1].remarks[0].kind == "unknown record"


def test_sentences_say_where_their_translation_is_from(tmp_path: Path) -> None:
    made = translated(tmp_path)
    passages = list(passages_of(made))
    assert [(x.source_text, x.target_text, x.method) for x in passages[1].lines] == [
        ("The dog sleeps on the chair.", "O cão dorme sobre o banco.", "engine"),
        ("The dog is red.", "O cão está vermelho.", "engine"),
    ]
    assert passages[1].lines[1].key == passages[3].lines[0].key
    refused = next(line for line in passages[2].lines if line.key)
    assert (refused.method, refused.target, refused.reasons) == ("none", (), ("refused: it is secret",))
    assert passages[2].rank == "left" and (
        passages[2].remarks[0].check,
        passages[2].remarks[0].kind,
    ) == ("translation", "refused")
    assert passages[5].lines[0].method == "table" and passages[9].lines[0].method == "untouched"
    assert ("kept", "`two(12)`") in passages[7].lines[0].target


def test_a_glossary_is_no_fixed_answer(tmp_path: Path) -> None:
    policy = Policy(glossary={"Green Park": "Parque Verde"})
    passages = list(passages_of(translated(tmp_path, [record("1", "Where is the dog?", "green park")], default=policy)))
    assert [(line.target_text, line.method) for line in passages[1].lines] == [("Parque Verde", "glossary")]


def test_differences_of_spans_are_marked_on_both_sides() -> None:
    source, target = marked(
        ("I see ", Kept("3"), " of 12: ", Kept("<b>")), ("Vejo ", Kept("3"), " de 13: ", Kept("<b>"), " 3")
    )
    assert source == (
        ("text", "I see "),
        ("kept", "3"),
        ("text", " of "),
        ("lost", "12"),
        ("text", ": "),
        ("kept", "<b>"),
    )
    assert [piece for piece in target if piece[0] == "added"] == [("added", "13"), ("added", "3")]
    assert marked(("I see ", Kept("3")), None) == ((("text", "I see "), ("kept", "3")), ())


def test_counts_are_over_everything_though_little_is_shown(tmp_path: Path) -> None:
    many = [record(f"{n:04}", "Where is the dog?", f"The dog is red {'and red ' * (n % 7)}.") for n in range(500)]
    many[321] = record("0321", "What is the secret?", "The dog is red.")
    seen = review(translated(tmp_path, many), worst=10, sample=7, seed=3)
    assert (seen.tally.texts, len(seen.worst), len(seen.sample)) == (1000, 10, 7)
    assert sum(seen.tally.ranks.values()) == 1000 and seen.tally.policies["gqa"]["texts"] == 1000
    assert seen.worst[0].record == "0321" and seen.worst[0].rank == "left"
    rows = [(passage.row, passage.place) for passage in seen.sample]
    assert rows == sorted(rows) and len(set(rows)) == 7


def test_a_sample_is_drawn_by_its_seed_alone(tmp_path: Path) -> None:
    many = [record(f"{n:04}", "Where is the dog?", "The dog is red.") for n in range(200)]
    made = translated(tmp_path, many)
    first, again, other = (review(made, worst=2, sample=20, seed=seed).sample for seed in (1, 1, 2))
    assert first == again != other
    assert set(review(made, worst=2, sample=10, seed=1).sample) < set(first)


def test_every_kind_is_seen_before_a_frequent_one_fills_the_page() -> None:
    from olhar.translation.review import _Worst

    chosen = _Worst(4)
    for number in range(100):
        kind = "rare" if number == 77 else "frequent"
        remark = Remark("warning", "length", kind)
        chosen.add(Passage(number, str(number), "turn 1", "answer", "", (), (remark,)), number)
    assert [passage.row for passage in chosen.taken()] == [0, 77, 1, 2]


def test_where_all_is_shown_no_sample_is_drawn(tmp_path: Path) -> None:
    seen = review(translated(tmp_path))
    assert len(seen.worst) == seen.tally.texts == 11 and seen.sample == ()
    ranks = [passage.rank for passage in seen.worst]
    assert ranks[:2] == ["left", "left"] and ranks[-1] == "clean"


def test_a_file_without_records_has_nothing_to_show(tmp_path: Path) -> None:
    assert review(translated(tmp_path, [])).tally == Tally()


@pytest.mark.parametrize("skip", ["copy", "omit"])
def test_partitions_that_are_skipped_do_not_shift_the_rest(tmp_path: Path, skip: str) -> None:
    mixed = [record("1", "Where is the dog?", "The dog is red.", image="ocr/1.jpg"), *RECORDS[:2]]
    passages = list(passages_of(translated(tmp_path, mixed, partitions={"ocr": {"skip": skip}})))
    assert [passage.record for passage in passages] == ["001", "001", "2", "2"]
    assert not any(passage.stale for passage in passages)


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    made = translated(tmp_path)
    with pytest.raises(UserError, match="missing"):
        open_translated(tmp_path / "other.json")
    made.output.write_text(json.dumps(json.loads(made.output.read_text())[1:]))
    with pytest.raises(UserError, match="does not hold the records"):
        list(passages_of(made))
    manifest = beside(made.output, MANIFEST)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "direction": {"from": "en"}}))
    with pytest.raises(UserError, match="another version"):
        open_translated(made.output)
    made = translated(tmp_path)
    made.input.write_text("[]")
    with pytest.raises(UserError, match="gone or has changed"):
        open_translated(made.output)
    made = translated(tmp_path)
    made.cache.unlink()
    with pytest.raises(UserError, match="cache is not there"):
        open_translated(made.output)


# --- out and in


def test_everything_can_be_exported_each_sentence_once(tmp_path: Path) -> None:
    made = translated(tmp_path)
    rows = list(all_rows(made))
    keys = [row.key for row in rows]
    everywhere = {line.key for passage in passages_of(made) for line in passage.lines if line.key}
    assert len(keys) == len(set(keys)) and set(keys) == everywhere
    assert {row.key for row in rows_shown(review(made))} == everywhere
    red = next(row for row in rows if row.source == "The dog is red.")
    assert (red.target, red.record, red.place, red.policy) == ("O cão está vermelho.", "001", "turn 2, answer", "gqa")
    assert "The dog sleeps" in red.context and red.engine == "wordwise 2"


def corrected(path: Path, changes: dict[str, str]) -> None:
    """Do to an exported file what people do in each of the three tools: source -> what they write."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
        for row in rows:
            row |= {"target": changes.get(row["source"], row["target"]), "who": "Ana", "when": "2026-11-21"}
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return
    rows = json.loads(path.read_text())
    for row in rows:
        text = changes.get(row.get("fields", row.get("data"))["source"])
        if text is not None and "fields" in row:
            row["responses"] = {"target": [{"value": text, "user_id": "Ana"}]}
        elif text is not None:
            result = [{"from_name": "target", "to_name": "source", "type": "textarea", "value": {"text": [text]}}]
            row["annotations"] = [{"result": result, "completed_by": {"email": "Ana"}, "updated_at": "2026-11-21"}]
    path.write_text(json.dumps(rows))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_correction_comes_back_is_kept_and_wins(tmp_path: Path, ending: str) -> None:
    made = translated(tmp_path)
    path = tmp_path / f"review{ending}"
    count = export(path, rows_shown(review(made)))
    corrected(
        path,
        {"The dog is red.": "O cachorro é vermelho.", "What is the secret of the dog?": "Qual é o segredo do cão?"},
    )
    outcome = imported(made, path)
    assert (outcome.kept, outcome.already, outcome.unchanged, outcome.refused) == (2, 0, count - 2, ())
    assert stored(made)['["The dog is red."]'][:2] == ("O cachorro é vermelho.", "Ana")
    again = imported(made, path)
    assert (again.kept, again.already, again.refused) == (0, 2, ())
    assert line_of(made, "The dog is red.").method == "correction"
    assert [passage.record for passage in passages_of(made) if passage.stale] == ["001", "2", "2"]
    later = translated(tmp_path)
    assert "O cachorro é vermelho." in later.output.read_text() and "Qual é o segredo" in later.output.read_text()
    assert not any(passage.stale for passage in passages_of(later))


def test_an_old_export_does_not_undo_a_later_correction(tmp_path: Path) -> None:
    made = translated(tmp_path)
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    for path in (old, new):
        export(path, all_rows(made))
    corrected(new, {"The dog is red.": "O cachorro é vermelho."})
    assert imported(made, new).kept == 1
    assert imported(made, old).kept == 0 and '["The dog is red."]' in stored(made)


REFUSED = [
    ("See `two(12)` on the chair.", "Veja no banco.", "kept span missing: `two(12)`"),
    ("See `two(12)` on the chair.", "Veja `Two(12)` no banco.", "kept span missing: `two(12)`"),
    ("The dog is red.", "  ", "nothing is written"),
    ("The dog is red.", "O cão\né vermelho.", "more than one line"),
]


@pytest.mark.parametrize(("source", "text", "reason"), REFUSED)
def test_what_would_break_a_text_is_refused_with_its_reason(
    tmp_path: Path, source: str, text: str, reason: str
) -> None:
    made = translated(tmp_path)
    path = tmp_path / "review.csv"
    export(path, all_rows(made))
    corrected(path, {source: text, "Where is the dog?": "Onde fica o cão?"})
    outcome = imported(made, path, "Rui")
    (refused,) = outcome.refused
    assert outcome.kept == 1 and refused.source == source and refused.target == text
    assert reason in refused.reasons[0] and refused.number > 1
    assert list(stored(made)) == ['["Where is the dog?"]']


def test_rows_that_contradict_each_other_or_lost_their_anchor_are_refused(tmp_path: Path) -> None:
    made = translated(tmp_path)
    path = tmp_path / "review.csv"
    export(path, all_rows(made))
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    by_source = {row["source"]: row for row in rows}
    red, where, see = (by_source[text] for text in ("The dog is red.", "Where is the dog?", "What is on the sign?"))
    twice = [red | {"target": "A."}, red | {"target": "B."}, red | {"target": "B."}]
    broken = [where | {"target": "Onde?", "key": "00" * 32}, see | {"target": "Olhe.", "segment": "See"}]
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, red)
        writer.writeheader()
        writer.writerows([*twice, *broken])
    outcome = imported(made, path)
    assert (outcome.kept, [refused.number for refused in outcome.refused]) == (0, [2, 3, 4, 5, 6])
    reasons = [refused.reasons[0] for refused in outcome.refused]
    assert reasons[0] == reasons[2] == "corrected differently in rows 2, 3, 4: keep one of them"
    assert "not a sentence of this translation" in reasons[3] and "segment was changed" in reasons[4]


def test_whose_correction_it_is_can_be_said_for_the_whole_file(tmp_path: Path) -> None:
    made = translated(tmp_path)
    path = tmp_path / "review.argilla.json"
    export(path, all_rows(made))
    rows = json.loads(path.read_text())
    rows[0]["responses"] = {"target": [{"value": "Onde fica o cão?", "user_id": None}]}
    path.write_text(json.dumps(rows))
    assert imported(made, path, "Rui").kept == 1
    assert [who for _, who, _ in stored(made).values()] == ["Rui"]


@pytest.mark.parametrize(
    ("segment", "text", "parts"),
    [
        (("I see ", Kept("3"), " dogs"), "Vejo 13 ou 3 cães", ("Vejo 13 ou ", Kept("3"), " cães")),
        ((Kept("B"), " is it"), "Bom: é B", ("Bom: é ", Kept("B"))),
        (("There are ", Kept("3"), " dogs"), "有3只狗", ("有", Kept("3"), "只狗")),
        (("x ", Kept("<b>"), "y", Kept("<b>")), "<b><b>", (Kept("<b>"), Kept("<b>"))),
    ],
)
def test_kept_spans_are_found_in_what_a_person_wrote(segment: Segment, text: str, parts: Segment) -> None:
    assert aligned(segment, text) == parts


def test_spans_in_another_order_are_told_as_such() -> None:
    with pytest.raises(ValueError, match="kept spans in another order: not 3, 5"):
        aligned((Kept("3"), " of ", Kept("5")), "de 5, 3")
