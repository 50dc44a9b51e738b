"""How fast training is beside others, on one core: real tokens per second of the processor, and what is padding.

    python benchmarks/training_speed.py [--peer-python /tmp/trl/bin/python] [--rounds 5] [--record]
        [--variants trl packed ours cached]

One small LLaVA (SigLIP of 4 layers x 96 on 168 pixels, Qwen2 of 4 x 128, 4,096 words; 1.9 million parameters), 256
samples drawn by this script: 12 % without a picture, 144 image tokens, 300 tokens in the mean, at most 700. Connector
and language model learn, the tower is frozen; float32; one thread.

``trl``: TRL's SFTTrainer with its own collator, 8 samples a step, without gradient checkpointing and bf16 (both would
only slow it here). ``packed``: a plain loop over the same class: the same packs of at most 1,024 tokens, isolated by
transformers through positions that restart, all logits. ``ours``: olhar's loop. ``cached``: the same with what the
tower sees kept from before. Every variant is a process of its own; they take turns, an epoch each, so that what else
the machine does hits all alike. Seconds are those of the processor, after a first step that is not counted; decoding
of pictures included. Isolation: largest difference of a logit of ``ours``, packed and alone.

TRL needs an environment of its own, made once:

    python -m venv /tmp/trl
    /tmp/trl/bin/pip install trl==1.16.0 torch==2.13.0 transformers==5.23.0 pillow

(where PyPI's torch is the one for CUDA, add --extra-index-url https://download.pytorch.org/whl/cpu).
``--record`` appends a JSON line to benchmarks/results/training_speed.jsonl.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from _results import record
from small_llava import CAPACITY, RATE, Bench, prepare

VARIANTS = ("trl", "packed", "ours", "cached")
SAMPLES_A_STEP = 8  # of TRL


Epoch = Iterator[dict[str, float]]  # an epoch for each time it is asked: its tokens, places and processor's seconds


def trl(folder: Path) -> Epoch:
    """Runs in the environment that has TRL: nothing of olhar is imported here."""
    import torch
    from datasets import Dataset
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
    from trl import SFTConfig, SFTTrainer
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    rows = []
    for row in json.loads((folder / "rows.json").read_text()):
        roles = [("assistant" if at % 2 else "user", text) for at, text in enumerate(row["texts"])]
        messages = [{"role": role, "content": text} for role, text in roles]
        rows.append({"messages": messages, "images": [row["image"]] if row["image"] else []})
    processor = AutoProcessor.from_pretrained(folder / "model")
    model = AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32)
    model.model.vision_tower.requires_grad_(False)
    seen: list[tuple[int, int]] = []

    class Counted(DataCollatorForVisionLanguageModeling):  # type: ignore[misc]
        def torch_call(self, examples: Any) -> Any:
            for example in examples:
                example["images"] = [
                    Image.open(p).convert("RGB") if isinstance(p, str) else p for p in example["images"]
                ]
            made = super().torch_call(examples)
            seen.append((int(made["attention_mask"].sum()), made["attention_mask"].numel()))
            return made

    class Clock(TrainerCallback):  # type: ignore[misc]
        began = ended = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.ended = time.process_time()
            self.began = self.began or self.ended

    while True:
        seen.clear()
        clock = Clock()
        settings = SFTConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=SAMPLES_A_STEP,
            max_length=CAPACITY,
            num_train_epochs=1,
            learning_rate=RATE,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        SFTTrainer(
            model,
            settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=processor,
            data_collator=Counted(processor, max_length=CAPACITY),
            callbacks=[clock],
        ).train()
        tokens, places = (sum(column) for column in zip(*seen[1:], strict=True))
        yield {"tokens": tokens, "places": places, "seconds": clock.ended - clock.began}


def packed(folder: Path) -> Epoch:
    """A plain loop over transformers' class, one pack after the other."""
    import torch

    from olhar.families import normalised

    bench = Bench(folder, micro_batch=1)
    model: Any = bench.model.train()
    model.model.vision_tower.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)

    def step(number: int) -> int:
        batch = bench.batches[number]
        for part in batch.parts:
            labels = torch.full_like(part.ids, -100)
            labels[part.predictors + 1] = part.targets
            inputs = {"input_ids": part.ids[None], "position_ids": part.positions[None], "labels": labels[None]}
            if part.pixels is not None:
                inputs["pixel_values"] = normalised(part.pixels, bench.settings)
            loss = model(**inputs, use_cache=False).loss
            (loss * (part.weight / batch.weight)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return int(batch.tokens)

    yield from epochs(step, bench)


def ours(folder: Path, cached: bool = False) -> Epoch:
    """olhar's loop, as a run calls it."""
    from olhar.training import loop
    from olhar.training.model.objectives import AnswerLearner
    from olhar.training.model.optimizers import freeze_all_but, groups
    from olhar.training.model.prepare import prepare as prepared
    from olhar.training.records import Meter

    bench = Bench(folder, cached)
    ready = prepared(bench.model, bench.family, bench.stage)
    learner = AnswerLearner(bench.model, bench.family, bench.settings, cached=cached)
    trained = groups(learner, {role: [f"model.{name}" for name in of] for role, of in ready.roles.items()}, bench.stage)
    freeze_all_but(learner, trained)
    run = Path(tempfile.mkdtemp(dir=folder))
    meter = Meter(lambda: (0.0, 0.0))
    job = loop.Job(
        bench.stage, learner, trained, bench.batches, run, {}, 0, "fp32", 10**6, meter, len(bench.batches), 30
    )
    lines = loop.steps(job)
    yield from epochs(lambda number: int(next(lines)["tokens"]), bench)


def epochs(step: Callable[[int], int], bench: Bench) -> Epoch:
    """Epochs of the bench's steps, the first of which is not counted."""
    number = 0
    while True:
        step(number)
        before, began = bench.batches.places, time.process_time()
        tokens = sum(step(number + later) for later in range(1, bench.steps))
        seconds, places = time.process_time() - began, bench.batches.places - before
        number += bench.steps
        yield {"tokens": tokens, "places": places, "seconds": seconds}


def isolation(folder: Path) -> float:
    """The largest difference of a logit, packed and alone, over the first packs."""
    import torch

    from olhar.families import normalised
    from olhar.training.model import attention
    from olhar.training.model.objectives import packed_hidden_states

    bench = Bench(folder)
    plain, worst = Bench(folder), 0.0
    attention.install(bench.model)
    for number in range(3):
        (part,) = bench.batches[number].parts
        with torch.no_grad():
            hidden = packed_hidden_states(bench.model, bench.family, bench.settings, part)
            found, image = bench.model.get_output_embeddings()(hidden), 0
            assert found.isfinite().all() and found.std() > 0.01
            for start, end in zip(part.segments.bounds, part.segments.bounds[1:], strict=False):
                ids, inputs = part.ids[start:end], dict[str, Any]()
                if (ids == bench.model.config.image_token_id).any():
                    inputs["pixel_values"] = normalised(part.pixels[image : image + 1], bench.settings)
                    image += 1
                alone = plain.model(input_ids=ids[None], **inputs).logits[0]
                worst = max(worst, float((found[start:end] - alone).abs().max()))
    return worst


def work(variant: str, folder: Path) -> None:
    """A variant's process: an epoch for every line it reads."""
    import torch

    torch.set_num_threads(1)
    running = {"trl": trl, "packed": packed, "ours": ours, "cached": lambda at: ours(at, cached=True)}[variant](folder)
    for _ in sys.stdin:
        print("\n@" + json.dumps(next(running)), flush=True)


def started(variant: str, folder: Path, python: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [python, __file__, "--work", variant, "--folder", str(folder)]
    quiet = subprocess.DEVNULL if "QUIET" in environment else None
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True, env=environment
    )


def asked(process: "subprocess.Popen[str]") -> dict[str, float]:
    """An epoch of a variant."""
    assert process.stdin and process.stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("@"):
            return json.loads(line[1:])  # type: ignore[no-any-return]
    raise SystemExit(f"a variant ended: {process.args}")


def compared(variants: Sequence[str], folder: Path, peer: str, rounds: int) -> dict[str, dict[str, float]]:
    """Every variant's rounds, in turn; medians."""
    running = {name: started(name, folder, peer if name == "trl" else sys.executable) for name in variants}
    rates: dict[str, list[float]] = {name: [] for name in variants}
    waste: dict[str, float] = {}
    for number in range(rounds):
        for name, process in running.items():
            found = asked(process)
            rates[name].append(found["tokens"] / found["seconds"])
            waste[name] = 1 - found["tokens"] / found["places"]
            print(f"{number + 1}/{rounds} {name}: {rates[name][-1]:,.0f} tokens per CPU second", flush=True)
    for process in running.values():
        process.communicate()
    return {
        name: {"tokens_per_cpu_second": round(statistics.median(found), 1), "padding": round(waste[name], 4)}
        for name, found in rates.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peer-python", help="python of an environment with TRL; without it, TRL is left out")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--work", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        return work(arguments.work, arguments.folder)
    variants = [name for name in arguments.variants if name != "trl" or arguments.peer_python]
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        worst = isolation(Path(folder))
        found = compared(variants, Path(folder), arguments.peer_python or "", arguments.rounds)
    ratios = {
        f"{one}_to_{other}": round(found[one]["tokens_per_cpu_second"] / found[other]["tokens_per_cpu_second"], 2)
        for one in ("ours", "cached")
        for other in ("trl", "packed")
        if one in found and other in found
    }
    result = {"variants": found, **ratios, "isolation": worst, "rounds": arguments.rounds}
    print(json.dumps(result, indent=1))
    if arguments.record:
        record(__file__, result)


if __name__ == "__main__":
    main()
