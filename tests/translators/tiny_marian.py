"""A Marian model of random weights in a folder as OPUS-MT publishes it, and the same converted for CTranslate2."""

import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers

GOLDEN = Path(__file__).parents[1] / "golden" / "conversations"
PIECES = 300
END_BIAS = 14.0  # some translations end, some do not
WORDS = "<unk>", "</s>", "<pad>"


def sentences() -> list[str]:
    """Every line of the shipped conversations that has a letter, without its mark of an image."""
    lines = [
        line.replace("<image>", "").strip()
        for file in sorted(GOLDEN.glob("*.json"))
        for sample in json.loads(file.read_text(encoding="utf-8"))
        for turn in sample["conversations"]
        for line in turn["value"].splitlines()
    ]
    return sorted({line for line in lines if any(letter.isalpha() for letter in line)})


def made(folder: Path, marks: tuple[str, ...] = (), **shape: Any) -> Path:
    """The model; ``marks``: first tokens that tell the direction, such as ``>>pob<<``."""
    folder.mkdir(parents=True)
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(sentences()), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "both"), vocab_size=PIECES, minloglevel=2, num_threads=1
    )
    corpus.unlink()
    (folder / "both.vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "both.model"))
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes((folder / "both.model").read_bytes())
    (folder / "both.model").unlink()
    learned = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    tokens = ["</s>", "<unk>", *(piece for piece in learned if piece not in ("<s>", *WORDS)), *marks, "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    tokenizer = {"source_lang": "en", "target_lang": "pt", "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    model(len(tokens), **shape).save_pretrained(folder)
    return folder


def model(tokens: int, **shape: Any) -> Any:
    """Random weights, large enough that what is read decides what is written."""
    pad = tokens - 1
    small = dict.fromkeys(("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 2)
    small |= {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 512}
    torch.manual_seed(0)
    config = transformers.MarianConfig(
        vocab_size=tokens,
        decoder_vocab_size=tokens,
        pad_token_id=pad,
        eos_token_id=0,
        decoder_start_token_id=pad,
        forced_eos_token_id=0,
        init_std=0.7,
        **(small | shape),
    )
    made = transformers.MarianMTModel(config).eval()
    made.final_logits_bias[0, 0] = END_BIAS
    made.generation_config.bad_words_ids = [[pad]]  # as published ones have it
    return made


def converted(marian: Path, folder: Path) -> Path:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(marian), copy_files=["source.spm", "target.spm"]).convert(str(folder))
    return folder
