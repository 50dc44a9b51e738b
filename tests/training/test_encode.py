"""Samples as flat arrays: lengths without a picture decoded, questions on the same pictures together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from olhar.core import marks
from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Sample, Turn
from olhar.families import Encoder
from olhar.training import encode
from olhar.training.batches import PackedBatches, lay_out
from olhar.training.encode import encode_set
from olhar.training.packs import pack_order, plan_packs


@pytest.mark.parametrize("share", [True, False])
def test_lengths_are_those_of_what_is_laid_out(bench: Any, share: bool) -> None:
    encoded = bench.encoded(share=share)
    laid = [len(lay_out(encoded, [document]).ids) for document in range(encoded.documents)]
    assert encoded.lengths().tolist() == laid
    assert max(laid) > min(laid)


def test_samples_on_the_same_pictures_become_one_document(bench: Any) -> None:
    encoded, media = bench.encoded(), [sample.media for sample in bench.samples]
    for document in range(encoded.documents):
        rows = [int(row) for row in encoded.rows[encoded.groups[document] : encoded.groups[document + 1]]]
        assert len({media[row] for row in rows}) == 1
        assert media[rows[0]] or len(rows) == 1, "text-only samples share nothing"
    pictured = {refs for refs in media if refs}
    assert encoded.documents == len(pictured) + sum(not refs for refs in media)
    assert sorted(encoded.rows.tolist()) == list(range(len(bench.samples)))


def test_without_sharing_every_sample_is_its_own_document(bench: Any) -> None:
    encoded = bench.encoded(share=False)
    assert encoded.documents == len(bench.samples) and not encoded.after_images.any()
    for number, sample in enumerate(bench.samples):
        single = bench.encoder.sample(sample)
        part = slice(encoded.starts[number], encoded.starts[number + 1])
        assert (encoded.ids[part].tolist(), encoded.trained[part].tolist()) == (single.ids, single.trained)


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


def test_a_sample_that_teaches_nothing_is_told(bench: Any, track: Any) -> None:
    class Silent:
        """A prompt that trains nothing."""

        def render(self, turns: Any, language: Any, **options: Any) -> Any:
            return replace(bench.encoder.prompt.render(turns, language, **options), trained=())

    encoder = Encoder(Silent(), None, bench.encoder.tokenizer, bench.family, bench.settings)
    with pytest.raises(UserError, match="no trained token") as caught:
        encode_set(bench.samples, [2], encoder, False, track)
    assert repr(bench.samples[2].id) in caught.value.where


def test_only_the_listed_rows_are_encoded(bench: Any, track: Any) -> None:
    encoded = encode_set(bench.samples, [5, 2, 9], bench.encoder, False, track)
    assert encoded.rows.tolist() == [5, 2, 9]
    part = slice(encoded.starts[1], encoded.starts[2])
    assert encoded.ids[part].tolist() == bench.encoder.sample(bench.samples[2]).ids


def test_what_is_saved_is_read_back_and_half_of_it_is_nothing(bench: Any, tmp_path: Path) -> None:
    encoded = bench.encoded()
    assert encode.load(tmp_path) is None
    encode.save(encoded, tmp_path)
    again = encode.load(tmp_path)
    assert again is not None
    for name in encoded.FIELDS:
        one, other = getattr(encoded, name), getattr(again, name)
        assert one.dtype == other.dtype and np.array_equal(one, other)
    (tmp_path / "trained.npy").unlink()
    assert encode.load(tmp_path) is None


def test_a_batch_is_the_same_whenever_it_is_asked_for(bench: Any) -> None:
    encoded = bench.encoded()
    planned = plan_packs(encoded.lengths(), 128)
    order = pack_order(len(planned), 2, 5, 0)
    batches = PackedBatches(encoded, bench.samples, planned, order, "internvl", bench.settings, 0)
    last = batches[4]
    _ = [batches[step] for step in range(4)]
    again = batches[4]
    assert len(batches) == 5
    for name in ("ids", "positions", "mask", "predictors", "targets", "pixels"):
        assert getattr(last, name).equal(getattr(again, name))
    assert last.tokens == sum(int(encoded.lengths()[planned[pack]].sum()) for pack in order[4])
    assert last.ids.shape[1] % 8 == 0
