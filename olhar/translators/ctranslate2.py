"""OPUS-MT, NLLB and MADLAD models as converted for CTranslate2: on a CPU with 8-bit weights, or on a GPU.

A folder is made once from a published model, with the SentencePiece models that belong to it::

    ct2-transformers-converter --model MODEL --output_dir FOLDER --quantization int8 \\
        --copy_files source.spm target.spm           # OPUS-MT
        --copy_files sentencepiece.bpe.model         # NLLB-200, M2M-100
        --copy_files spiece.model                    # MADLAD-400

A model keeps no sign that is put into its text, so segments are cut at kept spans.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from olhar.core.errors import UserError
from olhar.core.store import read_json
from olhar.translators import About, Failure
from olhar.translators._seq2seq import END, Direction, ModelOptions, ModelTranslator, about, direction, family_of
from olhar.translators._seq2seq import model_folder as folder_of

VOCABULARIES = ("shared_vocabulary.json", "source_vocabulary.json")
PIECES = ("sentencepiece.bpe.model", "spiece.model", "sentencepiece.model")
MARIAN_PIECES = ("source.spm", "target.spm")


class Options(ModelOptions):
    """compute_type: of the weights while computing, CTranslate2's names. threads: of one batch (0: as many as the
    machine has cores, 4 at most); workers: batches at once."""

    compute_type: Literal["auto", "int8", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"] = "int8"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=0, ge=0)
    workers: int = Field(default=1, ge=1)


def open(options: Options, source: str, target: str) -> "CTranslate2":
    """The model for one direction; its weights are read with the first segment.

    Raises ``UserError`` if CTranslate2, the folder or one of its files is not there, or the direction is not known.
    """
    try:
        program = version("ctranslate2")
    except PackageNotFoundError as error:
        raise UserError(
            "CTranslate2 is not installed", "the package ctranslate2", "pip install 'olhar[translate]'"
        ) from error
    folder = folder_of(options, ("model.bin", "config.json"))
    tokens = set(_vocabulary(folder))
    into, out_of = _pieces(folder)
    family = options.family or family_of(tokens, marian=into.name in MARIAN_PIECES)
    told = direction(options, family, tokens, source, target)
    return CTranslate2(options, told, (into, out_of), about("ctranslate2", program, folder, family, options))


def _vocabulary(folder: Path) -> list[str]:
    for name in VOCABULARIES:
        if (folder / name).is_file():
            return list(read_json(folder / name))
    raise UserError(
        f"none of {', '.join(VOCABULARIES)} is there", str(folder), "convert the model with CTranslate2 4.6 or later"
    )


def _pieces(folder: Path) -> tuple[Path, Path]:
    """The SentencePiece models of source and target."""
    source, target = (folder / name for name in MARIAN_PIECES)
    if source.is_file() and target.is_file():
        return source, target
    for name in PIECES:
        if (folder / name).is_file():
            return folder / name, folder / name
    raise UserError(
        "there is no SentencePiece model",
        str(folder),
        f"copy {' and '.join(MARIAN_PIECES)}, or one of {', '.join(PIECES)}, from the folder that was converted",
    )


class CTranslate2(ModelTranslator):
    """A ``Translator``."""

    def __init__(self, options: Options, told: Direction, pieces: tuple[Path, Path], about: About) -> None:
        super().__init__(about)
        self._options, self._told = options, told
        import sentencepiece

        self._source, self._target = (sentencepiece.SentencePieceProcessor(model_file=str(path)) for path in pieces)
        self._model: Any = None

    def longest(self) -> int:
        return self._options.max_source_tokens

    def tokens(self, source: str) -> list[str]:
        first = [self._told.source_token] if self._told.source_token else []
        return [*first, *self._source.encode(self._told.prefix + source, out_type=str), END]

    def generate(self, sources: Sequence[list[str]]) -> list[str | Failure]:
        options, told = self._options, self._told
        model = self._loaded()
        try:
            results = model.translate_batch(
                sources,
                target_prefix=[[told.target_token]] * len(sources) if told.target_token else None,
                beam_size=options.beam,
                max_batch_size=max(options.batch_tokens, options.max_source_tokens),
                batch_type="tokens",
                max_input_length=0,
                min_decoding_length=0,  # as transformers: a model may say nothing, which is a failure here
                max_decoding_length=options.max_tokens,
                return_end_token=True,
            )
        except RuntimeError as error:  # no memory for this batch
            return [Failure(f"CTranslate2: {error}", passing=True)] * len(sources)
        return [self._text(result.hypotheses[0]) for result in results]

    def close(self) -> None:
        self._model = None

    def _text(self, tokens: list[str]) -> str | Failure:
        if not tokens or tokens[-1] != END:
            return Failure(f"no end within {self._options.max_tokens} tokens")
        words = tokens[1:-1] if tokens[0] == self._told.target_token else tokens[:-1]
        return self._target.decode(words).strip() or Failure("the model gave nothing back")

    def _loaded(self) -> Any:
        if self._model is None:
            import ctranslate2

            options = self._options
            try:
                self._model = ctranslate2.Translator(
                    options.model,
                    device=options.device,
                    compute_type=options.compute_type,
                    intra_threads=options.threads,
                    inter_threads=options.workers,
                )
            except (RuntimeError, ValueError) as error:
                what = f"CTranslate2 cannot load this model: {error}"
                fix = "convert it again, or choose another device or compute_type"
                raise UserError(what, options.model, fix) from error
        return self._model
