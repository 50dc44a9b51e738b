"""How fast supervised fine-tuning is on one GPU, in the shape of ViTucano: tokens, MFU, memory, joules a token.

    python benchmarks/training_gpu.py [--steps 30] [--packs 4] [--capacity 4096] [--kernels liger] [--recompute]
        [--peak-tflops 989] [--peer-python /tmp/trl/bin/python] [--peer-batch 8] [--record]
    python benchmarks/training_gpu.py --tiny --cpu        (only proves that it runs)

Random weights, nothing downloaded: Llama of 1.1 billion parameters (22 layers of 2,048; 32 heads, 4 for keys and
values; 32,000 words), a frozen SigLIP of 400 million (27 layers of 1,152; 384 pixels, patches of 14: 729 tokens a
picture), a new connector. Samples are drawn as long as those of LLaVA-1.5's mixture: 88 % with a picture, about 200
tokens of text beside it, two thirds of them answers. bf16 autocast, float32 masters, fused AdamW; pictures are tensors
already, so reading them is not measured (``pictures.py`` does). The peer is TRL's SFTTrainer with Liger's kernels on
the same samples, padded; its environment needs trl, liger-kernel and the same torch and transformers. Several steps
are taken before anything is counted.

The useful work, in multiply-adds x 2, of which MFU is the share of the card's dense bf16 peak:
language model  6 x its matrices' parameters for every token (forward once, backward twice)
attention       6 x 2 x heads x width x (what each token sees, n (n + 1) / 2 in a document of n) for every layer
head            6 x hidden x words for every labelled token alone
tower           2 x its matrices for every patch, and 2 x 2 x width x patches^2 a layer: forward only, it is frozen
connector       6 x its matrices for every image token
Padding, recomputation and logits of unlabelled tokens are not useful. ``--record`` appends a JSON line to
benchmarks/results/training_gpu.jsonl.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results") / "training_gpu.jsonl"
PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "A40": 149.7, "RTX 4090": 165.2}  # TFLOP/s, dense
WARM, RATE, SEED, ANSWERS = 5, 2e-5, 0, 2 / 3
IMAGE = 3  # the image token's id

Sizes = dict[str, int]
TEXT = {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32}
LARGE = (
    {**TEXT, "num_key_value_heads": 4, "vocab_size": 32_000, "max_position_embeddings": 8192},
    {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    | {"image_size": 384, "patch_size": 14},
)
TINY = (
    {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 4096},
    {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    | {"image_size": 28, "patch_size": 14},
)


@dataclass(frozen=True)
class Case:
    """What is trained on which samples: (image tokens, text tokens) each."""

    text: Sizes
    vision: Sizes
    samples: Sequence[tuple[int, int]]

    @property
    def patches(self) -> int:
        return (self.vision["image_size"] // self.vision["patch_size"]) ** 2

    @staticmethod
    def of(tiny: bool, count: int) -> "Case":
        text, vision = TINY if tiny else LARGE
        draw, patches = random.Random(SEED), (vision["image_size"] // vision["patch_size"]) ** 2
        rows = [
            (patches if draw.random() < 0.88 else 0, int(min(max(draw.lognormvariate(5.0, 0.8), 12), 1800)))
            for _ in range(count)
        ]
        return Case(text, vision, rows)

    def flops(self, image: int, text: int) -> float:
        """Useful work on one sample, see above."""
        t, v, tokens = self.text, self.vision, image + text
        width = t["hidden_size"] // t["num_attention_heads"]
        attention = 2 * t["hidden_size"] ** 2 + 2 * t["hidden_size"] * width * t["num_key_value_heads"]
        layer = attention + 3 * t["hidden_size"] * t["intermediate_size"]
        seen = 2 * t["hidden_size"] * tokens * (tokens + 1) / 2
        language = 6 * t["num_hidden_layers"] * (layer * tokens + seen)
        head = 6 * t["hidden_size"] * t["vocab_size"] * int(text * ANSWERS)
        matrices = 4 * v["hidden_size"] ** 2 + 2 * v["hidden_size"] * v["intermediate_size"]
        tower = v["num_hidden_layers"] * (2 * matrices * image + 4 * v["hidden_size"] * image**2)
        connector = 6 * image * (v["hidden_size"] * t["hidden_size"] + t["hidden_size"] ** 2)
        return language + head + tower + connector


def built(case: Case, device: str) -> Any:
    """transformers' class with random weights; the tower is frozen."""
    import torch
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    config = LlavaConfig(
        vision_config=SiglipVisionConfig(**case.vision, vision_use_head=False),
        text_config=LlamaConfig(**case.text, tie_word_embeddings=False),
        image_token_index=IMAGE,
        vision_feature_select_strategy="full",
        image_seq_length=case.patches,
    )
    torch.manual_seed(SEED)
    with torch.device(device):
        model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.requires_grad_(False)
    if device == "cuda":
        model.model.vision_tower.to(torch.bfloat16)
    return model


def ids_of(case: Case, sample: tuple[int, int]) -> list[int]:
    return [IMAGE] * sample[0] + [4 + number % (case.text["vocab_size"] - 4) for number in range(sample[1])]


def pixels_of(case: Case, images: int) -> Any:
    import torch

    side = case.vision["image_size"]
    return torch.randint(256, (images, 3, side, side), dtype=torch.uint8)


class Steps:
    """Steps of so many packs, made before anything is timed; longer runs see them again."""

    def __init__(self, case: Case, packs: int, capacity: int) -> None:
        import numpy as np

        from olhar.training.packs import plan_packs

        planned = plan_packs(np.array([sum(sample) for sample in case.samples]), capacity)
        chosen = [[case.samples[row] for row in planned[pack].tolist()] for pack in range(len(planned))]
        random.Random(SEED).shuffle(chosen)
        self.case, self.capacity = case, packs * capacity
        self.rows = [chosen[start : start + packs] for start in range(0, len(chosen) - packs + 1, packs)]
        self.made = [self._made([sample for pack in row for sample in pack]) for row in self.rows]

    def _made(self, samples: Sequence[tuple[int, int]]) -> Any:
        import numpy as np
        import torch

        from olhar.families import Budget, Medium, llava
        from olhar.training.batches import Batch, Segments, StepBatch

        lengths = [sum(sample) for sample in samples]
        bounds = np.cumsum([0, *lengths])
        ids = torch.tensor([id for sample in samples for id in ids_of(self.case, sample)])
        ends = zip(bounds[1:].tolist(), samples, strict=True)
        places = torch.cat([torch.arange(end - int(text * ANSWERS), end) for end, (_, text) in ends])
        images = sum(image > 0 for image, _ in samples)
        assert Medium and llava
        batch = Batch(
            ids=ids,
            positions=torch.cat([torch.arange(length) for length in lengths]),
            segments=Segments(bounds, np.zeros((len(lengths), 2), dtype=np.int64), bounds[[0, -1]]),
            predictors=places - 1,
            targets=ids[places],
            weights=torch.ones(len(places)),
            pixels=pixels_of(self.case, images) if images else None,
            features=None,
            views=[llava.squares.Squares(Budget(self.case.patches, 0, 1))] * images,
            tokens=len(ids),
            samples=len(samples),
        )
        return StepBatch.of([batch], self.capacity)

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, step: int) -> Any:
        return self.made[step % len(self.made)]


Counted = tuple[int, int, float]  # real tokens, places computed, useful work of a step


def ours(case: Case, given: argparse.Namespace) -> Iterator[Counted]:
    """olhar's loop; a step for each time it is asked."""
    from olhar.core.recipe import TrainStage
    from olhar.families import _towers, llava
    from olhar.training import loop
    from olhar.training.kernels import apply_liger
    from olhar.training.objectives import AnswerLearner
    from olhar.training.optimizers import freeze_all_but, groups
    from olhar.training.prepare import prepare
    from olhar.training.team import Team

    device = "cpu" if given.cpu else "cuda"
    model, half = built(case, device), _towers.HALF
    settings = llava.Settings(case.vision["image_size"], case.vision["patch_size"], "squash", "full", False, half, half)
    row = {"name": "sft", "mixture": "m", "trains": {"connector": RATE, "language": RATE}, "steps": 10**6, "batch": 1}
    stage = TrainStage.model_validate(row | {"gradient_checkpointing": given.recompute})
    ready = prepare(model, llava, stage)
    if given.kernels:
        apply_liger(model)
    learner = AnswerLearner(model, llava, settings, kernels=given.kernels)
    trained = groups(learner, {role: [f"model.{name}" for name in of] for role, of in ready.roles.items()}, stage)
    freeze_all_but(learner, trained)
    steps = Steps(case, given.packs, given.capacity)
    work = [sum(case.flops(*sample) for pack in packs for sample in pack) for packs in steps.rows]
    with tempfile.TemporaryDirectory() as folder:
        precision, meter = "fp32" if given.cpu else "bf16", loop.Meter(lambda: (0.0, 0.0))
        named = (stage, learner, trained, steps, Path(folder), {}, 0, precision, 10**6, meter, 10**6, 30)
        for number, line in enumerate(loop.steps(loop.Job(*named, team=Team(device=device)))):  # type: ignore[arg-type]
            yield int(line["tokens"]), int(line["tokens"]), work[number % len(work)]


def trl(case: Case, given: argparse.Namespace) -> Iterator[Counted]:
    """TRL with Liger, in its own environment; padded batches of samples as they come."""
    import torch
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    seen: list[Counted] = []

    def collate(examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        chosen = [case.samples[example["number"]] for example in examples]
        rows = [ids_of(case, sample) for sample in chosen]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        answers = torch.zeros_like(ids, dtype=torch.bool)
        for row, (image, text) in enumerate(chosen):
            answers[row, image + text - int(text * ANSWERS) : image + text] = True
        seen.append((int(mask.sum()), mask.numel(), sum(case.flops(*sample) for sample in chosen)))
        pixels = pixels_of(case, sum(image > 0 for image, _ in chosen)).float() / 127.5 - 1
        labels = ids.masked_fill(~answers, -100)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "pixel_values": pixels}

    class Yielding(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            steps.append(state.global_step)
            reached(state.global_step, seen)

    steps: list[int] = []
    marks: list[dict[str, Any]] = []
    clock = Clock(given)

    def reached(step: int, counted: list[Counted]) -> None:
        if step == WARM:
            clock.start()
        if step == WARM + given.steps:
            marks.append(clock.told(counted[WARM : WARM + given.steps]))

    from tokenizers import Tokenizer, models

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0}, "<pad>")), pad_token="<pad>")
    device = "cpu" if given.cpu else "cuda"
    options = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=given.peer_batch,
        max_steps=WARM + given.steps,
        learning_rate=RATE,
        bf16=not given.cpu,
        use_cpu=given.cpu,
        use_liger_kernel=not given.cpu,
        gradient_checkpointing=given.recompute,
        report_to="none",
        save_strategy="no",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    numbers = Dataset.from_list([{"number": number} for number in range(len(case.samples))])
    SFTTrainer(
        built(case, device),
        options,
        train_dataset=numbers,
        processing_class=words,
        data_collator=collate,
        callbacks=[Yielding()],
    ).train()
    print("\n@" + json.dumps(marks[0]), flush=True)
    yield from ()
