"""How long until an answer begins: the first question about an image, the second with and without what was kept.

    python benchmarks/second_turn.py [--rounds 3] [--dtype bfloat16] [--threads 1] [--record]

A LLaVA of random weights: a SigLIP-B/14 tower at 336 pixels (576 features an image) and a Llama of 12 layers, 768
wide, with 32,768 tokens. Only times and ids are looked at. Every round asks all ways, one after the other; told are
medians. ``--record`` appends a JSON line to benchmarks/results/second_turn.jsonl.
"""

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _results import record
from PIL import Image

from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import Checkpoint, Spoken, llava
from olhar.inference.assistant import Assistant
from olhar.inference.generation import Generation
from olhar.inference.stream import Answer
from olhar.training.model import vocabulary

VOCABULARY = 32_768
PARTS = ModelParts(
    family="llava",
    tower=TowerShape(image_size=336, patch_size=14, hidden_size=768, layers=12, heads=12, intermediate_size=3072),
    language_model=LanguageModelShape(
        hidden_size=768, layers=12, heads=12, intermediate_size=2048, max_tokens=4096, initial_std=0.02
    ),
    tokenizer="learned below",
)
TEXTS = ["Que coisa é esta? É um gato.", "Onde está o avião, e quantos há? À direita; são três."]
HOW = Generation(max_new_tokens=4)


def checkpoint(dtype: torch.dtype) -> Checkpoint:
    """The model in memory, spoken to as LLaVA-1.5 is."""
    specials = ["</s>", *llava.SPECIAL_TOKENS]
    tokenizer = vocabulary.learn(TEXTS, 300, specials)
    settings = llava.settings(PARTS)
    torch.manual_seed(0)
    model: Any = llava.compose(PARTS, settings, tokenizer)
    model.resize_token_embeddings(VOCABULARY)
    return Checkpoint(model.to(dtype).eval(), tokenizer, "llava", settings, Spoken("vicuna", "v1", "en"))


def asked(whole: Checkpoint, image: Path) -> dict[str, Answer]:
    """One round: each way of asking, its pictures never seen before."""
    answers: dict[str, Answer] = {}
    kept = Assistant(whole).chat(image, generation=HOW)
    kept.say(TEXTS[0])
    answers["first"] = _answer(kept.answer)
    history = list(kept.turns)
    kept.say(TEXTS[1])
    answers["second"] = _answer(kept.answer)
    features_only = Assistant(whole).chat(image, generation=HOW, reuse=False)
    features_only.say(TEXTS[0])
    features_only.say(TEXTS[1])
    answers["second, features kept only"] = _answer(features_only.answer)
    anew = Assistant(whole).chat(generation=HOW, reuse=False)
    anew.turns = history
    anew.say(TEXTS[1])
    answers["second, nothing kept"] = _answer(anew.answer)
    return answers


def _answer(answer: Answer | None) -> Answer:
    assert answer is not None
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    whole = checkpoint(getattr(torch, arguments.dtype))
    seconds, ids = defaultdict[str, list[float]](list), defaultdict[str, set[tuple[int, ...]]](set)
    tokens: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "noise.png"
        noise = np.random.default_rng(0).integers(0, 256, (960, 1280, 3), dtype=np.uint8)
        Image.fromarray(noise).save(image)
        for number in range(arguments.rounds + 1):
            for way, answer in asked(whole, image).items():
                ids[way].add(answer.ids)
                tokens[way] = answer.tokens_in
                if number:  # the first round warms up
                    seconds[way].append(answer.seconds_to_first_token)
    medians = {way: round(statistics.median(found), 4) for way, found in seconds.items()}
    second = [ids[way] for way in ids if way != "first"]
    result = {
        "seconds_to_first_token": medians,
        "rounds": {way: [round(value, 4) for value in found] for way, found in seconds.items()},
        "second_over_first": round(medians["second"] / medians["first"], 4),
        "ids_identical": all(len(found) == 1 and found == second[0] for found in second),
        "tokens_in": tokens,
        "dtype": arguments.dtype,
        "threads": arguments.threads,
    }
    if arguments.record:
        record(__file__, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
