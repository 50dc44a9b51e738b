"""Models in transformers' own folders: batches of like length change nothing, and other folders are refused."""

from pathlib import Path

import pytest

from olhar.core.errors import UserError
from olhar.translators import Failure, transformers
from tests.translators import tiny_marian

SENTENCES = [(sentence,) for sentence in tiny_marian.sentences()[:40]]


def opened(folder: Path, **options: object) -> transformers.Transformers:
    told = {"model": str(folder), "beam": 1, "max_tokens": 24, **options}
    return transformers.open(transformers.Options.model_validate(told), "en", "pt")


def test_the_batch_does_not_matter(marian: Path) -> None:
    many, few = opened(marian, batch_tokens=4096), opened(marian, batch_tokens=40)
    assert many.translate(SENTENCES) == few.translate(SENTENCES)
    lengths = [len(many.tokens(text)) for (text,) in SENTENCES]
    assert max(lengths) > 2 * min(lengths), "nothing is padded"


def test_batches_hold_like_lengths_and_every_sentence_once(marian: Path) -> None:
    engine = opened(marian, batch_tokens=100)
    sources = [engine.tokens(text) for (text,) in SENTENCES]
    batches = list(engine._batches(sources))
    assert sorted(number for batch in batches for number in batch) == list(range(len(sources)))
    for batch in batches:
        assert len(batch) == 1 or max(len(sources[number]) for number in batch) * len(batch) <= 100
    longest = [max(len(sources[number]) for number in batch) for batch in batches]
    assert longest == sorted(longest) and len(batches) > 3


def test_it_says_what_generate_says(marian: Path) -> None:
    import transformers as library

    tokenizer = library.AutoTokenizer.from_pretrained(marian)
    model = library.AutoModelForSeq2SeqLM.from_pretrained(marian)
    results = opened(marian).translate(SENTENCES)
    said = 0
    for (text,), result in zip(SENTENCES, results, strict=True):
        batch = tokenizer([text], return_tensors="pt")
        ids = model.generate(**batch, num_beams=1, do_sample=False, max_new_tokens=24, max_length=None)[0]
        if not isinstance(result, Failure):
            said += 1
            assert result == (tokenizer.decode(ids, skip_special_tokens=True).strip(),)
    assert said >= 4


def test_the_first_target_token_is_told_to_nllb(tmp_path: Path) -> None:
    """A small M2M model with NLLB's codes: its translations begin with the code asked for, and differ by it."""
    import torch
    import transformers as library
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn", "por_Latn", "vie_Latn", "the", "sky", "blue", "um", "dois"]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
        additional_special_tokens=words[4:7],
    ).save_pretrained(tmp_path)
    small = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    small |= {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    torch.manual_seed(1)
    config = library.M2M100Config(vocab_size=len(words), init_std=0.8, max_position_embeddings=64, **small)
    library.M2M100ForConditionalGeneration(config).save_pretrained(tmp_path)
    engine = opened(tmp_path)
    assert engine.about.licence == "CC-BY-NC-4.0" and engine.about.non_commercial
    assert engine.tokens("the sky") == ["eng_Latn", "the", "sky", "</s>"]
    ids = engine._generated(engine._loaded(), [engine.tokens("the sky"), engine.tokens("the blue sky")])
    assert [words[row[1]] for row in ids] == ["por_Latn", "por_Latn"]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    import transformers as library

    with pytest.raises(UserError, match="no such folder"):
        opened(tmp_path / "nowhere")
    library.LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError):
        opened(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot read"):
        opened(tmp_path)
