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

The useful work in floating-point operations, of which MFU is the share of the card's dense bf16 peak:
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _results import record
from vitucano_shape import ANSWERS, SEED, Case, built, ids_of, pixels_of

PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "A40": 149.7, "RTX 4090": 165.2}  # TFLOP/s, dense
WARM, RATE = 5, 2e-5


class Steps:
    """Steps of so many packs, made before anything is timed; longer runs see them again."""

    def __init__(self, case: Case, packs: int, capacity: int) -> None:
        import numpy as np

        from olhar.training.data.packs import plan_packs

        planned = plan_packs(np.array([sum(sample) for sample in case.samples]), capacity)
        chosen = [[case.samples[row] for row in planned[pack].tolist()] for pack in range(len(planned))]
        random.Random(SEED).shuffle(chosen)
        self.case, self.capacity = case, packs * capacity
        self.rows = [chosen[start : start + packs] for start in range(0, len(chosen) - packs + 1, packs)]
        self.made = [self._made(self.samples(number)) for number in range(len(self.rows))]

    def _made(self, samples: Sequence[tuple[int, int]]) -> Any:
        import numpy as np
        import torch

        from olhar.families import Budget, llava
        from olhar.training.data.batches import Batch, Segments, StepBatch

        lengths = [sum(sample) for sample in samples]
        bounds = np.cumsum([0, *lengths])
        ids = torch.tensor([id for sample in samples for id in ids_of(self.case, sample)])
        ends = zip(bounds[1:].tolist(), samples, strict=True)
        places = torch.cat([torch.arange(end - int(text * ANSWERS), end) for end, (_, text) in ends])
        images = sum(image > 0 for image, _ in samples)
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

    def samples(self, step: int) -> list[tuple[int, int]]:
        return [sample for pack in self.rows[step % len(self.rows)] for sample in pack]

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, step: int) -> Any:
        return self.made[step % len(self.made)]


class Clock:
    """Tokens, work, memory and energy between two moments. All NVIDIA cards of the machine are read (NVML)."""

    def __init__(self, case: Case, given: argparse.Namespace) -> None:
        self.case, self.given = case, given

    def start(self) -> None:
        import torch

        if not self.given.cpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self.began, self.spent = time.perf_counter(), joules()

    def told(self, steps: Sequence[Sequence[tuple[int, int]]], places: int) -> dict[str, float | None]:
        """Since the start, for the samples of these steps, computed in so many places (padding is among them)."""
        import torch

        if not self.given.cpu:
            torch.cuda.synchronize()
        seconds, spent = time.perf_counter() - self.began, joules()
        tokens = sum(sum(sample) for samples in steps for sample in samples)
        work = sum(self.case.flops(*sample) for samples in steps for sample in samples)
        peak = None if self.given.cpu else self.given.peak_tflops or peak_of(torch.cuda.get_device_name())
        return {
            "tokens_per_second": round(tokens / seconds, 1),
            "padding": round(1 - tokens / places, 4),
            "tflops_per_second": round(work / seconds / 1e12, 3),
            "mfu": peak and round(work / seconds / 1e12 / peak, 4),
            "memory_gib": None if self.given.cpu else round(torch.cuda.max_memory_allocated() / 2**30, 2),
            "joules_per_token": None if spent is None or self.spent is None else (spent - self.spent) / tokens,
        }


def joules() -> float | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        cards = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        return float(sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(card) for card in cards)) / 1000
    except Exception:  # no package or no driver, and an error class for each
        return None


def peak_of(card: str) -> float | None:
    return next((peak for name, peak in PEAKS.items() if name in card), None)


def ours(case: Case, given: argparse.Namespace) -> dict[str, float | None]:
    """olhar's loop, as a run calls it."""
    from olhar.core.recipe import TrainStage
    from olhar.families import _towers, llava
    from olhar.training import loop
    from olhar.training.model.kernels import apply_liger
    from olhar.training.model.objectives import AnswerLearner
    from olhar.training.model.optimizers import freeze_all_but, groups
    from olhar.training.model.prepare import prepare
    from olhar.training.processes.team import Team
    from olhar.training.records import Meter

    device, half = "cpu" if given.cpu else "cuda", _towers.HALF
    model, side, patch = built(case, device), case.vision["image_size"], case.vision["patch_size"]
    settings = llava.Settings(side, patch, "squash", "full", False, half, half)
    row = {"name": "sft", "mixture": "m", "trains": {"connector": RATE, "language": RATE}, "steps": 10**6, "batch": 1}
    stage = TrainStage.model_validate(row | {"gradient_checkpointing": given.recompute})
    ready = prepare(model, llava, stage)  # type: ignore[arg-type]
    if given.kernels:
        apply_liger(model)
    learner = AnswerLearner(model, llava, settings, kernels=given.kernels)  # type: ignore[arg-type]
    trained = groups(learner, {role: [f"model.{name}" for name in of] for role, of in ready.roles.items()}, stage)
    freeze_all_but(learner, trained)
    steps, clock = Steps(case, given.packs, given.capacity), Clock(case, given)
    precision, meter = "fp32" if given.cpu else "bf16", Meter(lambda: (0.0, 0.0))
    with tempfile.TemporaryDirectory() as folder:
        named: Any = (stage, learner, trained, steps, Path(folder), {}, 0, precision, 10**6, meter, 10**6, 30)
        lines = loop.steps(loop.Job(*named, Team(device=device)))
        for _ in range(WARM):
            next(lines)
        clock.start()
        places = int(sum(next(lines)["tokens"] for _ in range(given.steps)))
        return clock.told([steps.samples(number) for number in range(WARM, WARM + given.steps)], places)


def trl(case: Case, given: argparse.Namespace) -> dict[str, float | None]:
    """TRL with Liger, in its own environment: samples as they come, padded to the longest of a batch."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    clock, seen, told = Clock(case, given), list[tuple[list[tuple[int, int]], int]](), dict[str, float | None]()

    def collate(examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        chosen = [case.samples[example["number"]] for example in examples]
        longest = max(map(sum, chosen))
        ids = torch.tensor([ids_of(case, sample) + [0] * (longest - sum(sample)) for sample in chosen])
        place = torch.arange(longest)
        ends = torch.tensor([sum(sample) for sample in chosen])[:, None]
        begins = ends - torch.tensor([int(text * ANSWERS) for _, text in chosen])[:, None]
        seen.append((chosen, ids.numel()))
        made = {"input_ids": ids, "attention_mask": (place < ends).long()}
        made["labels"] = ids.masked_fill((place < begins) | (place >= ends), -100)
        if images := sum(image > 0 for image, _ in chosen):
            made["pixel_values"] = pixels_of(case, images).float() / 127.5 - 1
        return made

    class Clocked(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == WARM:
                clock.start()
            if state.global_step == WARM + given.steps:
                counted = seen[WARM : WARM + given.steps]
                told.update(clock.told([chosen for chosen, _ in counted], sum(places for _, places in counted)))

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
    words = Tokenizer(models.WordLevel({"<pad>": 0}, "<pad>"))
    SFTTrainer(
        built(case, "cpu" if given.cpu else "cuda"),
        options,
        train_dataset=Dataset.from_list([{"number": number} for number in range(len(case.samples))]),
        processing_class=PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<pad>"),
        data_collator=collate,
        callbacks=[Clocked()],
    ).train()
    return told


def asked(variant: str, python: str) -> dict[str, float | None]:
    """A variant in a process of its own, so that it finds the card empty."""
    command = [python, __file__, "--work", variant, *sys.argv[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("@")]
    if not lines:
        raise SystemExit(f"{variant} ended without a result (exit code {done.returncode})")
    return json.loads(lines[-1][1:])  # type: ignore[no-any-return]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--packs", type=int, default=4, help="a step's packs, taken through the model at once")
    parser.add_argument("--capacity", type=int, default=4096, help="tokens of a pack")
    parser.add_argument("--kernels", choices=["liger"])
    parser.add_argument("--recompute", action="store_true", help="gradient checkpointing, in the peer too")
    parser.add_argument("--peak-tflops", type=float, help="dense bf16 peak of the card, where it is not known here")
    parser.add_argument("--peer-python", help="python of an environment with TRL and liger-kernel")
    parser.add_argument("--peer-batch", type=int, default=8)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--work", choices=["ours", "trl"], help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.work:
        case = Case.of(given.tiny, max(64, (WARM + given.steps) * given.peer_batch))
        print("\n@" + json.dumps({"ours": ours, "trl": trl}[given.work](case, given)), flush=True)
        return
    import torch

    if not given.cpu and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here; --tiny --cpu runs the same code small, on the processor")
    found = {"ours": asked("ours", sys.executable)}
    if given.peer_python:
        found["trl"] = asked("trl", given.peer_python)
    card = None if given.cpu else torch.cuda.get_device_name()
    result = {"card": card, **found, "arguments": vars(given)}
    print(json.dumps(result, indent=1))
    if given.record:
        record(__file__, result)


if __name__ == "__main__":
    main()
