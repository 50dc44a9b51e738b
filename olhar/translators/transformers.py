"""Any sequence-to-sequence model in a folder that transformers loads: OPUS-MT, NLLB, M2M-100, MADLAD and others.

The reference for ``ctranslate2``, which computes the same several times as fast on a CPU. A model keeps no sign that is
put into its text, so segments are cut at kept spans.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from olhar.core.errors import UserError
from olhar.translators import About, Failure
from olhar.translators._seq2seq import Direction, ModelOptions, ModelTranslator, about, direction, family_of
from olhar.translators._seq2seq import model_folder as folder_of


class Options(ModelOptions):
    """device: ``auto`` is the first GPU if there is one, or torch's name."""

    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


def open(options: Options, source: str, target: str) -> "Transformers":
    """The model for one direction; its weights are read with the first segment.

    Raises ``UserError`` for a folder that is not there or not of this kind, or a direction that it does not know.
    """
    import transformers

    folder = folder_of(options, ("config.json",))
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(options.model, error) from error
    if not config.is_encoder_decoder:
        what = f"a {config.model_type} model is no sequence-to-sequence model"
        raise UserError(what, options.model, "name the folder of a translation model")
    tokens = tokenizer.get_vocab()
    family = options.family or family_of(tokens, marian=config.model_type == "marian")
    told = direction(options, family, tokens, source, target)
    provenance = about("transformers", transformers.__version__, folder, family, options)
    return Transformers(options, told, tokenizer, provenance)


def _unreadable(model: str, error: Exception) -> UserError:
    what = f"transformers cannot read this model: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return UserError(what, model, "name a folder with config.json, weights and tokenizer of a translation model")


class Transformers(ModelTranslator):
    """A ``Translator``."""

    def __init__(self, options: Options, told: Direction, tokenizer: Any, about: About) -> None:
        super().__init__(about)
        self._options, self._told, self._tokenizer = options, told, tokenizer
        self._model: Any = None

    def longest(self) -> int:
        return self._options.max_source_tokens

    def tokens(self, source: str) -> list[str]:
        first = [self._told.source_token] if self._told.source_token else []
        return [*first, *self._tokenizer.tokenize(self._told.prefix + source), self._tokenizer.eos_token]

    def generate(self, sources: Sequence[list[str]]) -> list[str | Failure]:
        """Batches of like length, ``batch_tokens`` padded tokens each."""
        import torch

        model = self._loaded()
        results: list[str | Failure] = [""] * len(sources)
        for numbers in self._batches(sources):
            try:
                with torch.inference_mode():
                    rows = self._generated(model, [sources[number] for number in numbers])
                    came = [self._text(row) for row in rows]
            except torch.OutOfMemoryError as error:
                came = [Failure(f"transformers: {error}", passing=True)] * len(numbers)
            for number, text in zip(numbers, came, strict=True):
                results[number] = text
        return results

    def close(self) -> None:
        self._model = None

    def _batches(self, sources: Sequence[list[str]]) -> Iterator[list[int]]:
        batch: list[int] = []
        for number in sorted(range(len(sources)), key=lambda place: len(sources[place])):
            if batch and len(sources[number]) * (len(batch) + 1) > self._options.batch_tokens:
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    def _generated(self, model: Any, sources: Sequence[list[str]]) -> list[list[int]]:
        """Token ids of each answer."""
        import torch

        tokenizer, options = self._tokenizer, self._options
        rows = [tokenizer.convert_tokens_to_ids(source) for source in sources]
        width = max(map(len, rows))
        ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])  # (batch, tokens)
        seen = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        first = self._told.target_token
        more = {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(first)} if first else {}
        answers = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=seen.to(model.device),
            num_beams=options.beam,
            do_sample=False,
            max_new_tokens=options.max_tokens,
            max_length=None,
            forced_eos_token_id=None,  # an end that is forced would hide that there was none
            **more,
        )
        return list(answers.tolist())

    def _text(self, ids: list[int]) -> str | Failure:
        if self._tokenizer.eos_token_id not in ids[1:]:  # the first may be an end that begins
            return Failure(f"no end within {self._options.max_tokens} tokens")
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text.strip() or Failure("the model gave nothing back")

    def _loaded(self) -> Any:
        if self._model is None:
            import torch
            import transformers

            device = self._options.device
            if device == "auto":
                device = "cuda" if torch.cuda.is_available() else "cpu"
            try:
                model = transformers.AutoModelForSeq2SeqLM.from_pretrained(
                    self._options.model, local_files_only=True, dtype=getattr(torch, self._options.dtype)
                )
                self._model = model.eval().to(device)
            except (OSError, ValueError, RuntimeError, AssertionError) as error:
                raise _unreadable(self._options.model, error) from error
        return self._model
