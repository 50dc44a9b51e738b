"""The source's tokenizer, exactly as the original used it, and the proof that the target's gives the same ids."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, normalizers

from olhar.conversion._json import read_object
from olhar.core.choices import names
from olhar.core.errors import UserError
from olhar.families import read_tokenizer
from olhar.languages import language

BLANK = "▁"  # SentencePiece's sign for a blank
CLASSES = ("LlamaTokenizer", "Qwen2Tokenizer", "GPT2Tokenizer")  # that can be built where there is no tokenizer.json
SHAPES = (
    "0 1 2 10 2024 3.14 1,000,000 50% 12:30 -7",
    "one  two   three    four\tfive\t\tsix",
    "line\nline\n\nline\n\n\n  indented\r\nend\n",
    "🙂 👩‍👩‍👧 🇧🇷🇻🇳 ✓ → ∑ “…” ½ №",
    "{'a': [1, 2]} <b>x</b> https://example.org/?q=a&b=c#d foo_bar",
)


def source_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a folder: ``tokenizer.json`` as it stands, else built from the files that are there.

    Raises:
        UserError: the files are damaged or contradict each other, cannot be read without further packages, or
            describe a tokenizer that cannot be carried over exactly.
    """
    try:
        tokenizer = _read(folder)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how the library's Rust code fails; it is no Exception
            raise
        what = f"the tokenizer's files do not fit together: {error}"
        raise UserError(what, str(folder), "copy the files of one tokenizer here") from error
    _with_recorded(tokenizer, folder)
    tokenizer.no_truncation()  # of the last training's batches; no part of the vocabulary
    tokenizer.no_padding()
    return tokenizer


def _read(folder: Path) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return read_tokenizer(folder)
    if (folder / "tokenizer.model").is_file():
        return _from_sentencepiece(folder)
    tokenizer = _built(folder, "Qwen2Tokenizer")
    _same_vocabulary(tokenizer, folder / "vocab.json")
    return tokenizer


def probes() -> Iterator[str]:
    """Texts on which two tokenizers must agree: every language's words, then digits, blanks, lines, signs."""
    for code in names("languages"):
        words = language(code)
        yield from words.system.values()
        yield from (words.describe, " ".join(words.answer_cues), " ".join((*words.yes, *words.no)))
        yield from (" ".join(sorted(words.stopwords)), " ".join(words.roles.values()))
        if words.scenes is not None:
            yield "\n".join(question for forms in words.scenes.questions.values() for question in forms)
    yield from SHAPES


def check_rows(tokenizer: Tokenizer, rows: int, where: Path) -> int:
    """How many rows of embeddings the tokenizer needs, of which the source has ``rows``.

    Added tokens may lie beyond the table (it is lengthened); the tokenizer's own vocabulary may not.
    """
    own = max(tokenizer.get_vocab(with_added_tokens=False).values(), default=-1)
    if own >= rows:
        raise UserError(
            f"this tokenizer is not the checkpoint's: it has ids up to {own}, and there are {rows} embeddings",
            str(where),
            "put the tokenizer files that were published with this checkpoint into its folder",
        )
    return max(rows, 1 + max(tokenizer.get_vocab().values(), default=-1))


def verify(folder: Path, tokenizer: Tokenizer, special: Iterable[str]) -> None:
    """Refuse a written folder whose tokenizer, loaded by plain transformers, gives other ids than ``tokenizer``."""
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    special = tuple(special)
    for probe in (*probes(), *(f"{token}\n{text}{token} x" for token in special for text in SHAPES[:2])):
        _equal(probe, loaded(probe).input_ids, tokenizer.encode(probe).ids, folder, "transformers loads another one")
    for token in special:
        ids = loaded(token, add_special_tokens=False).input_ids
        _equal(token, ids, [tokenizer.token_to_id(token)], folder, "a special token is not one id")


def _equal(probe: str, found: Sequence[int], expected: Sequence[int | None], where: Path, why: str) -> None:
    if found != expected:
        shown = probe if len(probe) <= 60 else f"{probe[:57]}..."
        raise UserError(
            f"the tokenizer cannot be carried over exactly: {why}",
            f"{where}, on the text {shown!r}: {found[:8]} instead of {expected[:8]}",
            "put a tokenizer.json that its own library wrote into the source's folder",
        )


def _built(folder: Path, default: str) -> Tokenizer:
    """The tokenizer that transformers' class makes of the folder's files."""
    import transformers

    config = read_object(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    name = str(config.get("tokenizer_class") or default).removesuffix("Fast")
    if name not in CLASSES:
        raise UserError(
            f"there is no tokenizer.json, and a {name} cannot be built without it",
            str(folder),
            "save the tokenizer with its own library, as a fast one: that writes tokenizer.json",
        )
    try:
        loaded = getattr(transformers, name).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the tokenizer cannot be built: {reason}", str(folder), "check its files") from error
    return Tokenizer.from_str(loaded.backend_tokenizer.to_str())


def _from_sentencepiece(folder: Path) -> Tokenizer:
    """From ``tokenizer.model``, checked against SentencePiece itself."""
    for package in ("sentencepiece", "google.protobuf"):
        if not _installed(package):
            name = "protobuf" if package != "sentencepiece" else package
            raise UserError(f"reading tokenizer.model needs {name}", str(folder), "pip install sentencepiece protobuf")
    import sentencepiece

    tokenizer = _built(folder, "LlamaTokenizer")
    config = read_object(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    legacy = config.get("legacy") is not False  # transformers' own reading of a file that does not say
    if legacy:
        _prepend_always(tokenizer)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    why = "SentencePiece itself gives other ids"
    for probe in (*probes(), *((" begins with a blank", "  with two") if legacy else ())):
        _equal(probe, tokenizer.encode(probe, add_special_tokens=False).ids, pieces.encode(probe), folder, why)
    return tokenizer


def _prepend_always(tokenizer: Tokenizer) -> None:
    """Put a blank before every piece of text, also before one that begins with a blank, as SentencePiece does.

    transformers 5 puts none there, which is how only tokenizers of the later, not ``legacy`` kind were used.
    """
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
    tokenizer.pre_tokenizer = None


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _same_vocabulary(tokenizer: Tokenizer, path: Path) -> None:
    for token, id in read_object(path).items():
        if tokenizer.token_to_id(token) != id:
            _misrecorded(token, id, tokenizer.token_to_id(token), path)


def _with_recorded(tokenizer: Tokenizer, folder: Path) -> None:
    """Add the tokens that other files of the folder record, each at the id that they record."""
    for id, token, path in _recorded(folder):
        known = tokenizer.token_to_id(token.content)
        if known is None:
            add = tokenizer.add_special_tokens if token.special else tokenizer.add_tokens
            add([token])
            known = tokenizer.token_to_id(token.content)
        if known != id:
            _misrecorded(token.content, id, known, path)


def _recorded(folder: Path) -> list[tuple[int, AddedToken, Path]]:
    """(id, token, file) of all added tokens that the older files name, by id."""
    found: list[tuple[int, AddedToken, Path]] = []
    path = folder / "tokenizer_config.json"
    decoder: Mapping[str, Any] = (read_object(path) if path.is_file() else {}).get("added_tokens_decoder") or {}
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    for id, row in decoder.items():
        token = AddedToken(row["content"], **{flag: row[flag] for flag in flags if flag in row})
        found.append((int(id), token, path))
    seen, path = {id for id, _, _ in found}, folder / "added_tokens.json"
    for content, id in (read_object(path) if path.is_file() else {}).items():
        if id not in seen:
            found.append((id, AddedToken(content, special=True, normalized=False), path))
    return sorted(found, key=lambda row: row[0])


def _misrecorded(token: str, recorded: int, known: int | None, path: Path) -> None:
    raise UserError(
        f"the tokenizer's files contradict each other: {token!r} is recorded as {recorded}, and is {known}",
        str(path),
        "put the tokenizer files that were published with this checkpoint into its folder",
    )
