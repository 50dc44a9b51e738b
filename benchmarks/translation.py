"""How fast engines translate: Apertium's open pipe, and CTranslate2 beside transformers on one model.

    python benchmarks/translation.py [pipe] [path] [models] [--text FILE] [--rounds 3] [--threads 1]
        [--beam 1] [--lengths even|real] [--record]

``pipe``: words a second of the bare pipe, without the work around it, for every direction installed; of the shipped
conversations' lines, or of a text file with one sentence a line. ``path``: the same lines as answers of a data set,
through everything from reading to writing with nothing cached, beside the bare pipe in turn. ``models``: a Marian model
of random weights (about 60 million parameters) translates sentences, greedily or with beams: 64 of exactly 24 output
tokens each, or, with ``--lengths real``, 256 as long as those of the shipped conversations, in their order. Output
tokens a second of transformers' ``generate`` in float32, 64 at a time as they come, where a batch lasts as long as its
longest, and of CTranslate2 with float32 and 8-bit weights, in turn; medians, by the clock and by the processor's time,
which others on the machine change less. ``--record`` appends JSON lines to benchmarks/results/translation.jsonl.
"""

import argparse
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from _results import record

from olhar.core.errors import UserError
from olhar.translation.passes import Settings
from olhar.translation.policies import Policies
from olhar.translation.work import translate_file
from olhar.translators import Failure, Segment, Translator, apertium

SHIPPED = Path(__file__).parents[1] / "recipes" / "data" / "conversations"
TOKENS, SENTENCES, VOCABULARY = 24, 64, 32_000
WHAT = ("pipe", "path", "models")
SHAPE: dict[str, Any] = {
    "d_model": 512,
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 6),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 8),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 2048),
}


def measured(what: str, values: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """One result with what it was measured with."""
    return {"measured": what, **values, **arguments}


def lines(text: Path | None) -> list[str]:
    """The sentences to translate, each once."""
    if text:
        found = text.read_text(encoding="utf-8").splitlines()
    else:
        samples = [sample for file in sorted(SHIPPED.glob("*.json")) for sample in json.loads(file.read_text("utf-8"))]
        turns = [turn["value"] for sample in samples for turn in sample["conversations"]]
        found = [line.replace("<image>", "") for turn in turns for line in turn.splitlines()]
    return sorted({line.strip() for line in found if any(letter.isalpha() for letter in line)})


def through(translator: Translator, segments: Sequence[Segment]) -> tuple[float, int]:
    """Seconds for all segments in calls as large as the engine allows, and how many failed."""
    size, failed, began = translator.limits.segments, 0, time.perf_counter()
    for start in range(0, len(segments), size):
        results = translator.translate(segments[start : start + size])
        failed += sum(isinstance(result, Failure) for result in results)
    return time.perf_counter() - began, failed


def pipe(text: Path | None, rounds: int) -> list[dict[str, Any]]:
    """Words a second of Apertium's pipe, once its programs run."""
    sentences = lines(text)
    words = sum(len(sentence.split()) for sentence in sentences)
    results = []
    for target in ("pt", "pt-PT"):
        try:
            engine = apertium.open(apertium.Options(), "en", target)
        except UserError as error:
            print(f"{target}: {error.what}")
            continue
        began = time.perf_counter()
        engine.translate([("A word.",)])
        start = time.perf_counter() - began
        found = [through(engine, [(sentence,) for sentence in sentences]) for _ in range(rounds)]
        engine.close()
        seconds = statistics.median(taken for taken, _ in found)
        values = {
            "version": engine.about.version,
            "target": target,
            "words_per_second": round(words / seconds),
            "rounds": [round(words / taken) for taken, _ in found],
            "seconds_to_start": round(start, 2),
            "words": words,
            "sentences": len(sentences),
            "failed": max(failed for _, failed in found),
        }
        results.append(measured("apertium pipe", values, {"text": text.name if text else "shipped conversations"}))
    return results


def whole_path(text: Path | None, rounds: int) -> dict[str, Any]:
    """Words a second of a data set's translation, and of the bare pipe on the same lines."""
    sentences = lines(text)
    words = sum(len(sentence.split()) for sentence in sentences)
    bare, whole = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder, closing(apertium.open(apertium.Options(), "en", "pt")) as engine:
        given = Path(folder) / "in.json"
        said = [[{"from": "human", "value": "<image>\n?"}, {"from": "gpt", "value": line}] for line in sentences]
        given.write_text(json.dumps([{"id": str(n), "conversations": turns} for n, turns in enumerate(said)]))
        engine.translate([("A word.",)])
        for number in range(rounds):
            bare.append(words / through(engine, [(sentence,) for sentence in sentences])[0])
            began, output = time.perf_counter(), given.with_name(f"{number}.json")
            translate_file(given, output, engine, output.with_suffix(".sqlite"), Settings("en", "pt", Policies()))
            whole.append(words / (time.perf_counter() - began))
        version = engine.about.version
    values = {
        "version": version,
        "words": words,
        "bare_words_per_second": round(statistics.median(bare)),
        "whole_words_per_second": round(statistics.median(whole)),
        "whole_over_bare": round(statistics.median(w / b for w, b in zip(whole, bare, strict=True)), 3),
        "rounds": [[round(b), round(w)] for b, w in zip(bare, whole, strict=True)],
    }
    return measured("apertium whole path", values, {"text": text.name if text else "shipped conversations"})


def random_marian(folder: Path) -> Any:
    """The model in ``folder``, with a vocabulary of made-up tokens."""
    import torch
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(0)
    pad = VOCABULARY - 1
    config = MarianConfig(
        vocab_size=VOCABULARY,
        decoder_vocab_size=VOCABULARY,
        pad_token_id=pad,
        eos_token_id=0,
        decoder_start_token_id=pad,
        forced_eos_token_id=0,
        max_position_embeddings=512,
        **SHAPE,
    )
    model = MarianMTModel(config).eval()
    model.generation_config.bad_words_ids = [[pad]]
    model.save_pretrained(folder)
    return model


def tokens() -> list[str]:
    return ["</s>", "<unk>", *(f"t{number}" for number in range(2, VOCABULARY - 1)), "<pad>"]


def converted(folder: Path, target: Path, quantization: str | None) -> Path:
    """The model for CTranslate2; its converter wants the tokens' names only, from a tokenizer that has them."""
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):
        def load_tokenizer(self, tokenizer_class: Any, *arguments: Any, **options: Any) -> Any:
            return _Names()

    Converter(str(folder)).convert(str(target), quantization=quantization)
    return target


class _Names:
    """What the converter asks of a tokenizer."""

    eos_token, unk_token, pad_token, bos_token = "</s>", "<unk>", "<pad>", None

    def get_vocab(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(tokens())}


def sources(lengths: Sequence[int]) -> list[list[int]]:
    """Sentences of so many tokens, the last of which is their end."""
    chance = random.Random(0)
    return [[chance.randrange(2, VOCABULARY - 1) for _ in range(length - 1)] + [0] for length in lengths]


def real_lengths() -> list[int]:
    """Of the shipped sentences, in tokens: one and a half for each word, as for a language with endings."""
    samples = [sample for file in sorted(SHIPPED.glob("*.json")) for sample in json.loads(file.read_text("utf-8"))]
    turns = [turn["value"].replace("<image>", "") for sample in samples for turn in sample["conversations"]]
    said = [sentence for turn in turns for sentence in re.split(r"(?<=[.!?])\s+|\n+", turn) if sentence.strip()]
    return [min(120, max(3, round(1.5 * len(sentence.split())))) for sentence in said[: 4 * SENTENCES]]


def ended(lengths: Sequence[int]) -> Any:
    """Row i ends after ``lengths[i]`` tokens and not before, for transformers' ``generate``."""
    import torch
    from transformers import LogitsProcessor

    class Ended(LogitsProcessor):
        def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            last = torch.tensor(lengths) <= ids.shape[1]  # the start token is one of them
            scores[:, 0] = torch.where(last, torch.inf, -torch.inf)
            return scores

    return Ended()


def ways(folder: Path, threads: int, beam: int, lengths: Sequence[int]) -> dict[str, Callable[[], int]]:
    """Each way of translating the same sentences; called, it says how many tokens it wrote."""
    import ctranslate2
    import torch
    from transformers import LogitsProcessorList

    torch.set_num_threads(threads)
    model, given, names = random_marian(folder / "marian"), sources(lengths), tokens()
    longest = max(lengths)

    def by_transformers() -> int:
        written = 0
        for start in range(0, len(given), SENTENCES):
            batch, wanted = given[start : start + SENTENCES], lengths[start : start + SENTENCES]
            width = max(map(len, batch))
            ids = torch.tensor([row + [VOCABULARY - 1] * (width - len(row)) for row in batch])
            with torch.inference_mode():
                rows = model.generate(
                    ids,
                    attention_mask=ids != VOCABULARY - 1,
                    num_beams=beam,
                    do_sample=False,
                    max_new_tokens=max(wanted),
                    max_length=None,
                    logits_processor=LogitsProcessorList([ended([n for n in wanted for _ in range(beam)])]),
                )
            assert rows.shape[1] == max(wanted) + 1
            written += sum(wanted)
        return written

    def by_ctranslate2(compute: str) -> Callable[[], int]:
        translator = ctranslate2.Translator(
            str(converted(folder / "marian", folder / compute, "int8" if compute == "int8" else None)),
            compute_type=compute,
            intra_threads=threads,
        )
        rows = [[names[number] for number in row] for row in given]

        def translated() -> int:
            results = translator.translate_batch(
                rows,
                beam_size=beam,
                max_batch_size=1024,
                batch_type="tokens",
                min_decoding_length=longest,
                max_decoding_length=longest,
                return_end_token=True,
                callback=(lambda step: bool(step.step + 1 >= lengths[step.batch_id])) if beam == 1 else None,
            )
            return sum(len(result.hypotheses[0]) for result in results)

        return translated

    return {
        "transformers float32": by_transformers,
        "ctranslate2 float32": by_ctranslate2("float32"),
        "ctranslate2 int8": by_ctranslate2("int8"),
    }


def models(rounds: int, threads: int, beam: int, real: bool) -> dict[str, Any]:
    """Output tokens a second of every way, and how many times transformers' that is."""
    by_clock: dict[str, list[float]] = {}
    by_processor: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        lengths = real_lengths() if real else [TOKENS] * SENTENCES
        asked = ways(Path(folder), threads, beam, lengths)
        for number in range(rounds + 1):
            for name, translate in asked.items():
                began, worked = time.perf_counter(), time.process_time()
                written = translate()
                seconds, processor = time.perf_counter() - began, time.process_time() - worked
                assert written == sum(lengths), f"{name} wrote {written} tokens, not {sum(lengths)}"
                if number:  # the first round warms up
                    by_clock.setdefault(name, []).append(written / seconds)
                    by_processor.setdefault(name, []).append(written / processor)
    values = {
        "tokens_per_second": {name: round(statistics.median(found), 1) for name, found in by_clock.items()},
        "rounds": {name: [round(speed, 1) for speed in found] for name, found in by_clock.items()},
        "times_transformers": _times(by_clock),
        "tokens_per_processor_second": {
            name: round(statistics.median(found), 1) for name, found in by_processor.items()
        },
        "times_transformers_by_processor": _times(by_processor),
    }
    told = {
        "threads": threads,
        "beam": beam,
        "sentences": len(lengths),
        "tokens": sum(lengths),
        "longest": max(lengths),
    }
    return measured("models", values, told)


def _times(speeds: dict[str, list[float]]) -> dict[str, float]:
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return {name: round(median / medians["transformers float32"], 2) for name, median in medians.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", nargs="*", choices=WHAT, default=list(WHAT))
    parser.add_argument("--text", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--lengths", choices=["even", "real"], default="even")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    results = pipe(arguments.text, arguments.rounds) if "pipe" in arguments.what else []
    if "path" in arguments.what:
        results.append(whole_path(arguments.text, arguments.rounds))
    if "models" in arguments.what:
        results.append(models(arguments.rounds, arguments.threads, arguments.beam, arguments.lengths == "real"))
    for result in results:
        print(json.dumps(result, indent=1, ensure_ascii=False))
        if arguments.record:
            record(__file__, result)


if __name__ == "__main__":
    main()
