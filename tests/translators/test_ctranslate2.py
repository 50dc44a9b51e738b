"""Converted models: the same words as the model they were made from, and what happens to what does not fit."""

import json
from pathlib import Path

import pytest

from olhar.core.errors import UserError
from olhar.translators import Failure, Kept, ctranslate2, transformers
from tests.translators import tiny_marian

SHORT = {"beam": 1, "max_tokens": 24}
SENTENCES = [(sentence,) for sentence in tiny_marian.sentences()]


def opened(folder: Path, target: str = "pt", **options: object) -> ctranslate2.CTranslate2:
    told = {"model": str(folder), "compute_type": "float32", **SHORT, **options}
    return ctranslate2.open(ctranslate2.Options.model_validate(told), "en", target)


def test_it_says_what_transformers_says(marian: Path, converted: Path) -> None:
    """Greedily; beams end by rules of their own in either library."""
    reference = transformers.open(transformers.Options(model=str(marian), **SHORT), "en", "pt")
    expected = reference.translate(SENTENCES)
    assert opened(converted).translate(SENTENCES) == expected
    said = {str(result) for result in expected if not isinstance(result, Failure)}
    assert len(said) >= 10, "the model says too little for this to be a test"
    assert any(isinstance(result, Failure) for result in expected)


def test_token_for_token_but_for_the_last(marian: Path, converted: Path) -> None:
    """Transformers, left to itself, forces an end at the greatest length: the last token is not compared."""
    import torch
    import transformers as library

    tokenizer = library.AutoTokenizer.from_pretrained(marian)
    model = library.AutoModelForSeq2SeqLM.from_pretrained(marian)
    batch = tokenizer([text for (text,) in SENTENCES[:20]], return_tensors="pt", padding=True)
    with torch.inference_mode():
        rows = model.generate(**batch, num_beams=1, do_sample=False, max_new_tokens=20, max_length=None).tolist()
    expected = [tokenizer.convert_ids_to_tokens(row[1:]) for row in rows]
    engine = opened(converted)
    found = engine._loaded().translate_batch(
        [engine.tokens(text) for (text,) in SENTENCES[:20]],
        beam_size=1,
        max_decoding_length=20,
        min_decoding_length=0,
        return_end_token=True,
    )
    for result, row in zip(found, expected, strict=True):
        ours = result.hypotheses[0]
        length = min(len(ours), 19)
        assert ours[:length] == row[:length]


def test_eight_bits_say_much_the_same(converted: Path) -> None:
    exact, rounded = opened(converted).translate(SENTENCES), opened(converted, compute_type="int8").translate(SENTENCES)
    same = sum(one == other for one, other in zip(exact, rounded, strict=True))
    assert len(rounded) == len(exact) and same > len(exact) // 2


def test_neither_too_long_nor_endless_is_cut(converted: Path) -> None:
    engine = opened(converted, max_source_tokens=12)
    long, endless, fine = engine.translate([("a horse " * 40,), SENTENCES[_endless(converted)], SENTENCES[0]])
    assert isinstance(long, Failure) and "12 at most" in long.reason and not long.passing
    assert isinstance(endless, Failure)
    assert fine == engine.translate([SENTENCES[0]])[0]


def _endless(converted: Path) -> int:
    results = opened(converted).translate(SENTENCES)
    return next(
        number for number, result in enumerate(results) if isinstance(result, Failure) and "no end" in result.reason
    )


def test_kept_spans_and_empty_strings_are_not_for_it(converted: Path) -> None:
    results = opened(converted).translate([(Kept("3"),), ("   ",), ("a ", Kept("3"))])
    assert all(isinstance(result, Failure) for result in results)


def test_a_model_of_several_targets_is_told_which(tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    marian = tiny_marian.made(tmp_path / "several", marks=(">>pob<<", ">>por<<"))
    converted = tiny_marian.converted(marian, tmp_path / "converted")
    brazilian, european = opened(converted), opened(converted, target_code="por")
    assert brazilian.tokens("the sky")[0] == ">>pob<<" and european.tokens("the sky")[0] == ">>por<<"
    reference = transformers.open(transformers.Options(model=str(marian), **SHORT), "en", "pt")
    assert brazilian.tokens("the sky") == reference.tokens("the sky")
    assert brazilian.translate(SENTENCES) == reference.translate(SENTENCES) != european.translate(SENTENCES)
    with pytest.raises(UserError, match=">>vie<<"):
        opened(converted, target="vi")
    with pytest.raises(UserError, match="target_code"):
        opened(converted, target="pt-PT")
    assert brazilian.about.version != european.about.version


def test_the_family_shows_in_the_vocabulary_and_brings_its_licence(converted: Path, tmp_path: Path) -> None:
    pieces = (converted / "source.spm").read_bytes()
    vocabularies = {
        "nllb": ["</s>", "eng_Latn", "por_Latn"],
        "madlad": ["</s>", "<2en>", "<2pt>"],
        "m2m": ["</s>", "__en__", "__pt__"],
    }
    starts = {}
    for family, tokens in vocabularies.items():
        folder = tmp_path / family
        folder.mkdir()
        (folder / "spiece.model").write_bytes(pieces)
        (folder / "shared_vocabulary.json").write_text(json.dumps(tokens))
        for name in ("model.bin", "config.json"):
            (folder / name).write_text("{}")
        engine = opened(folder)
        starts[family] = (engine.tokens("the sky")[0], engine.about.licence, engine.about.non_commercial)
        assert f" {family} " in engine.about.version
    assert starts["nllb"] == ("eng_Latn", "CC-BY-NC-4.0", True)
    assert starts["m2m"][0] == "__en__" and not starts["m2m"][2]
    assert starts["madlad"][1:] == ("Apache-2.0", False)
    assert opened(tmp_path / "nllb", licence="MIT").about.non_commercial is False


def test_the_version_tells_models_and_options_apart(converted: Path, tmp_path: Path) -> None:
    version = opened(converted).about.version
    assert opened(converted).about.version == version
    assert opened(converted, threads=1, workers=2).about.version == version
    assert opened(converted, beam=2).about.version != version
    other = tmp_path / converted.name
    other.mkdir()
    for file in converted.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    assert opened(other).about.version == version
    (other / "model.bin").write_bytes(b"another")
    assert opened(other).about.version != version


def test_what_is_missing_is_named(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such folder"):
        opened(tmp_path / "nowhere")
    for name in ("model.bin", "config.json", "shared_vocabulary.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=r"source\.spm and target\.spm"):
        opened(tmp_path)
    (tmp_path / "source.spm").write_bytes((converted / "source.spm").read_bytes())
    (tmp_path / "target.spm").write_bytes((converted / "source.spm").read_bytes())
    with pytest.raises(UserError, match="cannot load"):
        opened(tmp_path).translate([("the sky",)])

    def absent(name: str) -> str:
        raise ctranslate2.PackageNotFoundError(name)

    monkeypatch.setattr(ctranslate2, "version", absent)
    with pytest.raises(UserError, match=r"olhar\[translate\]"):
        opened(converted)
