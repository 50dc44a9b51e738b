"""Tokenizers of several kinds, small enough to read."""

import json
from functools import cache
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, processors

from olhar.prompts import with_placeholder

GOLDEN = Path(__file__).parents[1] / "golden"
MARKS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>")
KINDS = ("metaspace", "metaspace-legacy", "bytes", "bytes-trimmed")


@cache
def read_tokenizer(kind: str) -> Tokenizer:
    """One tokenizer of each kind, as it was published or trained."""
    if kind == "metaspace":
        return Tokenizer.from_file(str(GOLDEN / "vitucano" / "tokenizer" / "tokenizer.json"))
    if kind == "metaspace-legacy":
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(GOLDEN / "llava15" / "tokenizer").backend_tokenizer
    if kind == "bytes-onevision":
        return Tokenizer.from_file(str(GOLDEN / "llava_onevision" / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(GOLDEN / "internvl_base" / "tokenizer.json"))
    if kind == "bytes-trimmed":
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """A tokenizer that knows the placeholder and the marks of all prompts."""
    complete = with_placeholder(read_tokenizer(request.param))
    complete.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return complete


@pytest.fixture
def published() -> object:
    """Reads a tokenizer by kind, knowing the placeholder and nothing else that was not published."""
    return lambda kind: with_placeholder(read_tokenizer(kind))


@pytest.fixture
def golden() -> object:
    """Reads a JSON file of tests/golden."""
    return lambda path: json.loads((GOLDEN / path).read_text(encoding="utf-8"))
