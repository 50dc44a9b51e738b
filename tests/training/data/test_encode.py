"""Samples as flat arrays: lengths without a picture decoded, questions on the same pictures together, no silence."""

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from olhar.core import marks
from olhar.core.errors import UserError
from olhar.core.types import Finding, ImageRef, Sample, Turn
from olhar.families import Encoder
from olhar.prompts import prompt
from olhar.training.data import encode
from olhar.training.data.encode import EncodedSet, encode_set
from olhar.training.data.pieces import Cutter, shown_media


@pytest.mark.parametrize("share", [True, False])
def test_lengths_are_those_of_what_is_laid_out(bench: Any, whole: Any, share: bool) -> None:
    encoded = bench.encoded(share=share)
    laid = [len(whole(encoded, [document]).ids) for document in range(encoded.documents)]
    assert encoded.lengths().tolist() == encoded.lengths_of(encoded.spans()).tolist() == laid
    assert max(laid) > min(laid) and encoded.counts["tokens"] == sum(laid)


def test_samples_on_the_same_pictures_become_one_document(bench: Any) -> None:
    encoded, media = bench.encoded(), [sample.media for sample in bench.samples]
    for document in range(encoded.documents):
        rows = [int(row) for row in encoded.rows[encoded.groups[document] : encoded.groups[document + 1]]]
        assert len({media[row] for row in rows}) == 1
        assert media[rows[0]] or len(rows) == 1, "text-only samples share nothing"
    pictured = {refs for refs in media if refs}
    assert encoded.documents == len(pictured) + sum(not refs for refs in media)
    assert sorted(encoded.rows.tolist()) == list(range(len(bench.samples)))


def test_a_document_is_no_longer_than_a_pack(bench: Any) -> None:
    longest = int(bench.encoded(share=False).lengths().max())
    whole, cut = bench.encoded(), bench.encoded(max_tokens=longest)
    assert whole.lengths().max() > longest >= cut.lengths().max()
    assert cut.samples == whole.samples and cut.documents > whole.documents
    assert cut.counts["rejected"] == 0


def test_without_sharing_every_sample_is_its_own_document(bench: Any) -> None:
    encoded = bench.encoded(share=False)
    assert encoded.documents == len(bench.samples) and not encoded.after_images.any()
    for number, sample in enumerate(bench.samples):
        single, views = bench.encoder.sample(sample), bench.views(sample)
        assert list(single.views) == list(views)
        part = slice(encoded.starts[number], encoded.starts[number + 1])
        assert (encoded.ids[part].tolist(), encoded.trained[part].tolist()) == (single.ids, single.trained.tolist())
        assert encoded.labelled[number] == sum(single.trained)
        assert encoded.tiles[number] == sum(view.budget.tiles for view in views)
        assert encoded.image_tokens[number] == sum(view.budget.tokens for view in views)
        assert tuple(shown_media(sample, encoded.shown[number].tolist())) == sample.media


def test_neighbours_on_equal_files_with_other_marks_are_not_one_document(bench: Any) -> None:
    ref = next(ref for sample in bench.samples for ref in sample.media if isinstance(ref, ImageRef))
    marked = ImageRef(ref.path, (marks.mark("box 0.1 0.1 0.5 0.5 red"),))
    rows = [
        Sample(f"m{n}", "pt", (Turn("user", (r, "qual?")), Turn("assistant", ("gato",))))
        for n, r in enumerate((ref, marked))
    ]
    assert bench.encoded(bench.file(rows, "marked.jsonl")).documents == 2


def test_no_picture_is_decoded(bench: Any, tmp_path: Path) -> None:
    """Sizes come from headers: a picture cut after its header still has its tokens."""
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 100).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:500])
    sample = Sample("c", "pt", (Turn("user", (ImageRef(str(cut)), "qual?")), Turn("assistant", ("gato",))))
    encoded = bench.encoded(bench.file([sample], "cut.jsonl"))
    assert encoded.lengths().tolist() == [len(bench.encoder.sample(sample).ids)]


class Silent:
    """A prompt that trains nothing where somebody asks for silence."""

    def __init__(self, prompt: Any, everywhere: bool) -> None:
        self.prompt, self.everywhere = prompt, everywhere

    def render(self, turns: Any, language: Any, **options: Any) -> Any:
        rendered = self.prompt.render(turns, language, **options)
        return replace(rendered, trained=()) if self.everywhere or "silêncio" in turns[0].text else rendered


def spoken(name: str, *texts: str) -> Sample:
    """A conversation without pictures, the user first."""
    return Sample(name, "pt", tuple(Turn(("user", "assistant")[n % 2], (text,)) for n, text in enumerate(texts)))


def silent(bench: Any, everywhere: bool = False) -> Encoder:
    return replace(bench.encoder, prompt=Silent(bench.encoder.prompt, everywhere))


def test_a_sample_that_teaches_nothing_is_rejected_and_told(bench: Any, tmp_path: Path, track: Any) -> None:
    file = bench.file([spoken("a", "um?", "dois"), spoken("b", "silêncio?", "três")], "silent.jsonl")
    encoded = encode_set(file, silent(bench), 100, "reject", True, tmp_path, 0, track)
    assert encoded.rows.tolist() == [0] and encoded.counts["rejected"] == 1
    (found,) = encode.findings(tmp_path)
    assert (found.sample_id, found.check, found.severity) == ("b", "labels", "error")


def test_a_set_in_which_nothing_is_trained_is_refused(bench: Any, tmp_path: Path, track: Any) -> None:
    with pytest.raises(UserError, match=f"none of {len(bench.samples)} samples .* because of labels"):
        encode_set(bench.samples, silent(bench, True), 10_000, "reject", False, tmp_path, 0, track)
    assert encode.load(tmp_path) is None
    assert len(list(encode.findings(tmp_path))) == len(bench.samples)


def test_what_cannot_be_encoded_is_rejected_and_told(bench: Any, tmp_path: Path) -> None:
    missing = Sample("m", "pt", (Turn("user", (ImageRef("/nowhere.png"), "qual?")), Turn("assistant", ("um",))))
    rows = [spoken("good", "um?", "dois"), missing, spoken("turns", "um?", "dois", "três?")]
    encoded = bench.encoded(bench.file(rows, "bad.jsonl"), folder=tmp_path)
    assert encoded.rows.tolist() == [0] and encoded.counts["rejected"] == 2
    found = list(encode.findings(tmp_path))
    assert [(one.sample_id, one.check) for one in found] == [("m", "encoding"), ("turns", "encoding")]
    assert "/nowhere.png" in found[0].message and "roles" in found[1].message


LONG = "um dois três quatro cinco seis sete oito nove dez"


@pytest.fixture
def talk(bench: Any) -> Sample:
    """Three exchanges: about a picture, about nothing new, and about another picture."""
    one, two = [ref for sample in bench.samples for ref in sample.media if isinstance(ref, ImageRef)][:2]
    questions: tuple[tuple[Any, ...], ...] = ((one, "qual?"), ("quantos?",), (two, "e agora?"))
    turns = ((Turn("user", parts), Turn("assistant", (LONG,))) for parts in questions)
    return Sample("talk", "pt", tuple(turn for exchange in turns for turn in exchange))


def lengths(bench: Any, sample: Sample) -> list[int]:
    """Tokens of the first exchange, of the first two, and so on."""
    pairs = range(2, len(sample.turns) + 1, 2)
    return [len(bench.encoder.sample(replace(sample, turns=sample.turns[:pair])).ids) for pair in pairs]


def test_overlong_samples_are_rejected_and_told(bench: Any, talk: Sample, tmp_path: Path) -> None:
    whole = lengths(bench, talk)[-1]
    file = bench.file([spoken("a", "um?", "dois"), talk], "long.jsonl")
    assert bench.encoded(file, max_tokens=whole).samples == 2
    encoded = bench.encoded(file, max_tokens=whole - 1, folder=tmp_path)
    assert encoded.rows.tolist() == [0] and encoded.counts["rejected"] == 1
    assert list(encode.findings(tmp_path)) == [
        Finding("talk", "length", "error", f"{whole} tokens, where a pack holds {whole - 1}")
    ]


def test_a_sample_of_too_many_tiles_is_rejected(bench: Any, talk: Sample, tmp_path: Path) -> None:
    file = bench.file([spoken("a", "um?", "dois"), talk], "tiles.jsonl")
    for overlong in ("reject", "truncate"):
        encoded = bench.encoded(file, max_tiles=1, overlong=overlong, folder=tmp_path)
        assert encoded.rows.tolist() == [0]
        assert "2 tiles, where a pack holds 1" in [found.message for found in encode.findings(tmp_path)]


def test_truncating_cuts_the_end_and_says_what_is_lost(bench: Any, talk: Sample, tmp_path: Path) -> None:
    single = bench.encoder.sample(talk)
    limit = len(single.ids) - 3
    encoded = bench.encoded(bench.file([talk], "cut.jsonl"), max_tokens=limit, overlong="truncate", folder=tmp_path)
    assert encoded.ids.tolist() == single.ids[:limit] and encoded.counts["truncated"] == 1
    lost, all_trained = sum(single.trained[limit:]), sum(single.trained)
    (found,) = encode.findings(tmp_path)
    assert (found.check, found.severity) == ("length", "warning") and lost > 0
    assert f"from {len(single.ids)} to {limit} tokens; {lost} of {all_trained} trained" in found.message


def test_truncating_never_cuts_an_image_or_all_that_is_trained(bench: Any, talk: Sample) -> None:
    whole = bench.encoder.sample(talk)
    outcomes = {limit: Cutter(bench.encoder, limit, "truncate").outcome(talk) for limit in range(1, len(whole.ids) + 1)}
    for limit, outcome in outcomes.items():
        expected = limit >= whole.after_images and any(whole.trained[1:limit])
        assert bool(outcome.pieces) == expected, limit
        assert outcome.findings or limit == len(whole.ids)
    assert {outcome.fate for outcome in outcomes.values()} == {"kept", "truncated", "rejected"}
    first = Sample("one", "pt", talk.turns[:2])
    start = bench.encoder.sample(first).trained.tolist().index(True)
    found = Cutter(bench.encoder, start, "truncate").outcome(first)
    assert found.fate == "rejected" and "no trained one would be left" in found.findings[0].message


def test_splitting_makes_pieces_of_whole_exchanges(bench: Any, talk: Sample, tmp_path: Path) -> None:
    """The first picture is shown anew to the second piece, the other picture stays in its own turn."""
    limit = lengths(bench, talk)[1]
    encoded = bench.encoded(bench.file([talk], "split.jsonl"), max_tokens=limit, overlong="split", folder=tmp_path)
    one, _ = talk.media
    third = (Turn("user", (one, *talk.turns[4].parts)), talk.turns[5])
    expected = [replace(talk, turns=talk.turns[:4]), replace(talk, turns=third)]
    assert encoded.samples == 2 and encoded.rows.tolist() == [0, 0]
    for number, piece in enumerate(expected):
        part = slice(encoded.starts[number], encoded.starts[number + 1])
        assert encoded.ids[part].tolist() == bench.encoder.sample(piece).ids
        assert tuple(shown_media(talk, encoded.shown[number].tolist())) == piece.media
    assert encoded.tiles.tolist() == [1, 2] and encoded.counts["split"] == 1
    assert [found.severity for found in encode.findings(tmp_path)] == ["warning"]
    labels = sum(bench.encoder.sample(talk).trained)
    assert encoded.labelled.sum() == labels, "nothing that is trained is lost"


def test_every_piece_begins_with_the_system_turn(bench: Any, talk: Sample) -> None:
    encoder = replace(bench.encoder, prompt=prompt("chatml"))
    system = Turn("system", ("responde em português",))
    told = replace(talk, turns=(system, *talk.turns))
    parts = [(system, *talk.turns[:2]), (system, Turn("user", (talk.media[0], "quantos?")), talk.turns[3])]
    expected = [encoder.sample(replace(talk, turns=turns)).ids for turns in parts]
    outcome = Cutter(encoder, max(map(len, expected)), "split").outcome(told)
    assert [piece.ids.tolist() for piece in outcome.pieces[:2]] == expected


def test_an_exchange_that_fits_nowhere_is_left_out_and_told(bench: Any, talk: Sample) -> None:
    giant = replace(
        talk, turns=(*talk.turns[:2], Turn("user", ("e?",)), Turn("assistant", (LONG * 9,)), *talk.turns[4:])
    )
    limit = lengths(bench, talk)[1]
    outcome = Cutter(bench.encoder, limit, "split").outcome(giant)
    assert outcome.fate == "split" and len(outcome.pieces) == 2
    told = {found.severity: found.message for found in outcome.findings}
    assert "exchange 2 of 3 is left out" in told["error"] and "split into 2" in told["warning"]
    alone = Cutter(bench.encoder, 5, "split").outcome(giant)
    assert alone.fate == "rejected" and not alone.pieces and len(alone.findings) == 3
    single = Cutter(bench.encoder, 5, "split").outcome(replace(talk, turns=talk.turns[:2]))
    assert single.fate == "rejected" and single.findings[0].check == "length"


def test_counts_say_what_became_of_all(bench: Any, talk: Sample, tmp_path: Path) -> None:
    file = bench.file([spoken("a", "um?", "dois"), talk, spoken("b", *["um?", LONG] * 30)], "all.jsonl")
    limit = lengths(bench, talk)[1]
    encoded = bench.encoded(file, max_tokens=limit, overlong="split", folder=tmp_path)
    fates = Counter(Cutter(bench.encoder, limit, "split").outcome(sample).fate for sample in file)
    assert {fate: encoded.counts[fate] for fate in ("rejected", "truncated", "split")} == {
        "rejected": fates["rejected"],
        "truncated": 0,
        "split": fates["split"],
    }
    assert encoded.counts["samples"] == encoded.samples > 4
    assert encoded.counts["labelled"] == int(encoded.labelled.sum()) == int(encoded.trained.sum())
    assert encoded.counts["image_tokens"] == int(encoded.image_tokens[encoded.groups[:-1]].sum())


def arrays(encoded: EncodedSet) -> dict[str, Any]:
    return {name: getattr(encoded, name).tolist() for name in encode.ARRAYS}


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_become_one_set(bench: Any, monkeypatch: Any, tmp_path: Path, workers: int) -> None:
    """As if they had been one, but that neighbours in two shards share no pictures."""
    expected = bench.encoded(share=False)
    monkeypatch.setattr(encode, "SHARD", 7)
    encoded = bench.encoded(share=False, folder=tmp_path, workers=workers)
    assert arrays(encoded) == arrays(expected) and encoded.counts == expected.counts
    assert not list(tmp_path.glob("shards-*")) and isinstance(encoded.ids.base, np.memmap)


def test_an_interrupted_encoding_goes_on_with_the_first_missing_shard(
    bench: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(encode, "SHARD", 7)
    done: list[int] = []

    def interrupted(rows: Any, *_: Any) -> Any:
        for row in rows:
            if row == 13 and not done:  # the last sample of the second shard
                raise KeyboardInterrupt
            yield row

    with pytest.raises(KeyboardInterrupt):
        bench.encoded(folder=tmp_path, track=interrupted)
    assert encode.load(tmp_path) is None
    (shards,) = tmp_path.glob("shards-*")
    assert sorted(path.name for path in shards.iterdir()) == ["00000.npz", "00001.npz"]

    def noted(rows: Any, *_: Any) -> Any:
        done.extend(rows)
        return done

    encoded = bench.encoded(folder=tmp_path, track=noted)
    assert done == list(range(14, len(bench.samples)))
    assert arrays(encoded) == arrays(bench.encoded())


def test_what_was_encoded_is_found_again_unless_it_would_be_encoded_otherwise(bench: Any, tmp_path: Path) -> None:
    calls: list[str] = []

    def counting(rows: Any, label: str, *_: Any) -> Any:
        calls.append(label)
        return rows

    first = bench.encoded(folder=tmp_path, track=counting)
    again = bench.encoded(folder=tmp_path, track=counting)
    assert arrays(first) == arrays(again) and first.counts == again.counts and len(calls) == 1
    bench.encoded(folder=tmp_path, track=counting, max_tokens=9_999)
    bench.encoded(folder=tmp_path, track=counting, max_tokens=9_999, share=False)
    assert len(calls) == 3
    (tmp_path / encode.COUNTS).unlink()
    assert encode.load(tmp_path) is None


def test_a_set_goes_to_another_process_as_its_folder(bench: Any, by_hand: Any) -> None:
    encoded = bench.encoded()
    sent = pickle.dumps(encoded)
    assert len(sent) < 500 and arrays(pickle.loads(sent)) == arrays(encoded)
    other = by_hand([1, 2], [False, True], [0, 2], [0, 1])
    assert arrays(pickle.loads(pickle.dumps(other))) == arrays(other)


def test_a_mistake_in_a_worker_process_is_told_here(bench: Any, monkeypatch: Any, tmp_path: Path, track: Any) -> None:
    monkeypatch.setattr(encode, "SHARD", 7)
    folder = tmp_path / "blocked"
    work = encode._Work(bench.samples, Cutter(bench.encoder, 100, "reject"), True, folder, "k", 7)
    folder.write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot write"):
        encode._encode(work, 2, track)
