"""``Trainer`` of transformers on a tiny Llava: train, or go on from its newest checkpoint, writing every step's loss.

    python benchmarks/trainer_resume.py FOLDER [--resume] [--steps 8] [--save 4]

FOLDER/losses.jsonl gets a line a step: its number, the loss, and a hash of the samples it was given. kill_and_resume.py
kills it and starts it again. Needs accelerate.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

SAMPLES, BATCH, TOKENS, IMAGE = 64, 4, 24, 3
SIDE, PATCH, WIDTH, VOCABULARY = 56, 14, 32, 64
PATCHES = (SIDE // PATCH) ** 2


def tiny_llava() -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    tower = CLIPVisionConfig(**sizes, image_size=SIDE, patch_size=PATCH, projection_dim=WIDTH)
    text = LlamaConfig(**sizes, vocab_size=VOCABULARY, num_key_value_heads=2, max_position_embeddings=256)
    config = LlavaConfig(vision_config=tower, text_config=text, image_token_index=IMAGE, image_seq_length=PATCHES)
    return LlavaForConditionalGeneration(config)


class Noise(torch.utils.data.Dataset[dict[str, Any]]):
    """Pictures of noise, and token sequences that follow from them."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, Any]:
        draw = torch.Generator().manual_seed(index)
        start = torch.randint(4, VOCABULARY, (1,), generator=draw)
        text = (start + torch.arange(TOKENS)) % (VOCABULARY - 4) + 4
        ids = torch.cat([torch.full((PATCHES,), IMAGE), text])
        labels = torch.cat([torch.full((PATCHES,), -100), text])
        return {"input_ids": ids, "labels": labels, "pixel_values": torch.randn(3, SIDE, SIDE, generator=draw)}


class Writing(Trainer):
    """Trainer, saying what it saw: nothing of how it trains, saves or resumes is changed."""

    def __init__(self, log: Path, **given: Any) -> None:
        super().__init__(**given)
        self.log_file = log

    def compute_loss(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        loss = super().compute_loss(model, inputs, *rest, **more)
        seen = hashlib.sha256(inputs["pixel_values"].numpy().tobytes()).hexdigest()[:12]
        line = {"step": self.state.global_step + 1, "loss": float(loss), "samples": seen}
        with open(self.log_file, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        return loss


class Saved(TrainerCallback):
    """A file beside a checkpoint that is complete, for who wants to kill after it."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        Path(args.output_dir, f"saved-{state.global_step}").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--save", type=int, default=4)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    settings = TrainingArguments(
        output_dir=str(arguments.folder),
        per_device_train_batch_size=BATCH,
        max_steps=arguments.steps,
        save_steps=arguments.save,
        learning_rate=1e-3,
        use_cpu=True,
        report_to=[],
        seed=0,
        disable_tqdm=True,
    )
    log = arguments.folder / "losses.jsonl"
    trainer = Writing(log, model=tiny_llava(), args=settings, train_dataset=Noise(), callbacks=[Saved()])
    trainer.train(resume_from_checkpoint=arguments.resume or None)


if __name__ == "__main__":
    main()
