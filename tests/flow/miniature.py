"""The parts and the data of published recipes at their smallest, in the files in which the originals come.

``CASES`` says of every recipe what stands in their places.
"""

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.conversion.llava_goldens import source

Overrides = Mapping[str, Any]
GOLDEN = Path(__file__).parents[1] / "golden"
SIDES = ((70, 50), (40, 60), (56, 56), (90, 30))  # of the pictures, in turn
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT |= {"num_key_value_heads": 2, "max_position_embeddings": 4096, "initializer_range": 0.2}
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "image_size": 56, "patch_size": 14}
LLAMA_IDS = {"bos_token_id": 1, "eos_token_id": 2}
QWEN_IDS = {"bos_token_id": 400, "eos_token_id": 402, "tie_word_embeddings": True}
ASKED = {"pt": "O que aparece na foto?", "vi": "Trong ảnh có gì?", "en": "What is in the picture?"}
SAID = {  # answers of different lengths
    "pt": ("Um gato dorme na cadeira da casa.", "Não.", "Duas crianças jogam bola perto do rio com um cachorro."),
    "vi": ("Một con mèo ngủ trên ghế.", "Không.", "Hai đứa trẻ chơi bóng gần sông với một con chó."),
    "en": ("A cat sleeps on the chair.", "No.", "Two children play with a ball near the river and a dog."),
}


def tower(folder: Path, kind: str, layers: int = 3) -> Path:
    """A vision tower as it is published: configuration, weights, how its pictures are prepared; SigLIP with its text
    encoder."""
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModel,
        InternVLVisionConfig,
        InternVLVisionModel,
        SiglipConfig,
        SiglipModel,
    )

    torch.manual_seed(2)
    shape = VISION | {"num_hidden_layers": layers}
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 56, "width": 56}}
    if kind == "clip":
        model: Any = CLIPVisionModel(CLIPVisionConfig(**shape))
        shutil.copytree(GOLDEN / "llava15" / "vision_tower", folder)
    elif kind == "siglip":
        text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = SiglipModel(SiglipConfig(text_config=text | {"vocab_size": 20}, vision_config=shape))
        _write(folder / "preprocessor_config.json", half | {"image_processor_type": "SiglipImageProcessor"})
    else:
        model = InternVLVisionModel(InternVLVisionConfig(**shape))
        with torch.no_grad():  # which the class leaves at zero
            model.embeddings.position_embeddings.normal_(std=0.1)
        imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
        _write(folder / "preprocessor_config.json", half | imagenet | {"image_processor_type": "GotOcr2ImageProcessor"})
    model.save_pretrained(folder)
    return folder


def language_model(folder: Path, kind: str) -> Path:
    """A language model with its tokenizer: ``tucano`` (Llama, tokenizer.json), ``vicuna`` (Llama, pickled weights and
    a SentencePiece file alone, as it is on the hub) or ``qwen`` (Qwen2, tied embeddings)."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(3)
    if kind == "qwen":
        model: Any = Qwen2ForCausalLM(Qwen2Config(**TEXT, **QWEN_IDS, vocab_size=408))
        folder.mkdir(parents=True)
        for file in GOLDEN.joinpath("llava_onevision").glob("tokenizer*.json"):
            shutil.copy(file, folder)
    else:
        vocabulary = 503 if kind == "tucano" else 500
        model = LlamaForCausalLM(LlamaConfig(**TEXT, **LLAMA_IDS, vocab_size=vocabulary))
        shutil.copytree(GOLDEN / {"tucano": "vitucano", "vicuna": "llava15"}[kind] / "tokenizer", folder)
    model.to(torch.bfloat16).save_pretrained(folder)
    if kind == "vicuna":
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    return folder


def internvl_checkpoint(folder: Path) -> Path:
    """A whole InternVL in its own layout, which transformers reads by remote code alone."""
    shutil.copytree(
        GOLDEN / "internvl_base", folder, ignore=shutil.ignore_patterns("*.png", "cases*", "ids*", "*_*.s*")
    )
    return folder


def pictures(folder: Path, count: int) -> list[str]:
    """Names of pictures of noise in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        width, height = SIDES[number % len(SIDES)]
        noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    return names


def conversation(language: str, number: int, images: int = 1, rounds: int = 1) -> list[dict[str, str]]:
    """Turns in LLaVA's form; the first question shows the images."""
    answers, drawn = SAID[language], random.Random(number)
    rows = []
    for turn in range(rounds):
        shown = "<image>\n" * images if turn == 0 else ""
        rows.append({"from": "human", "value": f"{shown}{ASKED[language]}"})
        rows.append({"from": "gpt", "value": drawn.choice(answers)})
    return rows


def llava(folder: Path, language: str, count: int = 8, rounds: int = 1) -> Path:
    """Records of one picture each; ``rounds``: at most so many questions."""
    records = [
        {"id": f"s{number}", "image": name, "conversations": conversation(language, number, 1, 1 + number % rounds)}
        for number, name in enumerate(pictures(folder, count))
    ]
    return _write(folder / "conversations.json", records)


def regions(folder: Path, count: int = 8) -> Path:
    """ViP-LLaVA's: every other record has a box on its picture, some boxes their outline too."""
    records = []
    for number, name in enumerate(pictures(folder, count)):
        record: dict[str, Any] = {"id": f"s{number}", "image": name, "conversations": conversation("en", number)}
        if number % 2:
            asked, said = {"from": "human", "value": "<image>\nWhat is <bbox>?"}, {"from": "gpt", "value": "A dog."}
            record |= {"id": f"refcocog-gpt4v-{number}", "conversations": [asked, said]}
            record |= {"bboxes": [[4, 4, 25, 25]], "segmentations": [[[5, 5, 24, 5, 24, 24, 5, 24]]]}
        records.append(record)
    return _write(folder / "regions.json", records)


def onevision(folder: Path, name: str, several: bool = False) -> Path:
    """A mixture of two files; with ``several``, of samples of two pictures, of a video, and of text alone."""
    names = pictures(folder, 8)
    rows = [{"id": f"{n}", "image": file, "conversations": conversation("en", n)} for n, file in enumerate(names)]
    if several:
        video = [{"id": "v", "video": "clip", "conversations": conversation("en", 1)}]
        video[0]["conversations"][0]["value"] = "<video>\nWhat happens?"  # type: ignore[index]
        pictures(folder / "clip", 3)
        pairs = [
            {"id": f"p{n}", "image": names[n : n + 2], "conversations": conversation("en", n, 2)} for n in range(4)
        ]
        rows = [*rows[:2], *pairs, *video, {"id": "t", "conversations": conversation("en", 5, 0)}]
    _write(folder / "first.json", rows[:5])
    _write(folder / "second.json", rows[5:])
    listed = "datasets:\n- json_path: first.json\n- {json_path: second.json, sampling_strategy: all}\n"
    (folder / name).write_text(listed, encoding="utf-8")
    return folder / name


def internvl(folder: Path, language: str, count: int = 8) -> Path:
    """A table of two data sets in InternVL's form: one picture a record, and two pictures or none."""
    names = pictures(folder / "images", count + 1)
    single = [
        {"id": n, "image": names[n], "conversations": conversation(language, n, n % 2)} for n in range(count // 2)
    ]
    several: list[dict[str, Any]] = [
        {"id": n, "image": names[n : n + 2], "conversations": conversation(language, n, 2, 2)}
        for n in range(count // 2, count - 1)
    ]
    several.append({"id": count, "conversations": conversation(language, count, 0)})
    table = {}
    for name, rows in (("single", single), ("several", several)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        table[name] = {"root": "images", "annotation": f"{name}.jsonl", "repeat_time": 1, "length": len(rows)}
    return _write(folder / "table.json", table)


def _write(path: Path, value: Mapping[str, Any] | list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def vitucano(folder: Path) -> Overrides:
    return parts(folder, "siglip", "tucano") | {
        "ingest.0.path": llava(folder / "captions", "pt"),
        "ingest.1.path": llava(folder / "conversations", "pt", rounds=3),
        "train.stages.1.steps": 2,
    }


def llava_lora(folder: Path) -> Overrides:
    """The engine gives texts back as they are, so they are Portuguese before, and no check may say so."""
    sure = ["structure", "turns", "placeholders", "images", "spans", "numbers", "length", "loops"]
    return {
        "ingest.0.path": llava(folder / "instruct", "pt", rounds=2),
        "translate": {"engine": "identity"},
        "check.checks": sure,
        "model.checkpoint": source("llava15", folder / "llava15"),
    }


def vip(folder: Path) -> Overrides:
    return parts(folder, "clip", "vicuna", layers=24) | {
        "ingest.0.path": llava(folder / "captions", "en"),
        "ingest.1.path": regions(folder / "regions"),
        "ingest.2.path": regions(folder / "gpt4v"),
    }


def vintern(folder: Path) -> Overrides:
    data = {f"ingest.{number}.path": internvl(folder / str(number), "vi") for number in range(3)}
    steps = {f"train.stages.{number}.steps": 2 for number in range(2)}
    return (
        parts(folder, "internvit", "qwen")
        | data
        | steps
        | {
            "train.stages.0.warmup_steps": 1,
            "train.stages.2.max_tokens": 500,
        }
    )


def vintern_lora(folder: Path) -> Overrides:
    return {
        "ingest.0.path": llava(folder / "own", "vi", rounds=2),
        "model.checkpoint": internvl_checkpoint(folder / "vintern"),
    }


def small_onevision(folder: Path) -> Overrides:
    return parts(folder, "siglip", "qwen") | {
        "ingest.0.path": llava(folder / "captions", "en"),
        "ingest.1.path": onevision(folder / "mid", "mid.yaml"),
        "ingest.2.path": onevision(folder / "single", "single.yaml"),
        "ingest.3.path": onevision(folder / "several", "several.yaml", several=True),
        "train.stages.0.max_tokens": 300,
        "train.stages.1.image": {"pinpoints": [[112, 56], [56, 112], [112, 112]]},  # of a tower of 56 pixels
    }


def parts(folder: Path, sees: str, speaks: str, layers: int = 3) -> Overrides:
    words, seen = language_model(folder / "words", speaks), tower(folder / "tower", sees, layers)
    return {"model.tower": seen, "model.language_model": words, "model.tokenizer": words}


CASES: dict[str, Callable[[Path], Overrides]] = {
    "vitucano-1b5": vitucano,
    "llava-13b-pt-lora": llava_lora,
    "vip-llava-7b": vip,
    "vintern-3b": vintern,
    "vintern-3b-lora": vintern_lora,
    "llava-onevision-0b5": small_onevision,
}
