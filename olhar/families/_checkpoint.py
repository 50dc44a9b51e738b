"""A checkpoint folder: what plain transformers loads, and ``olhar.json`` for what it has no place for."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from tokenizers import Tokenizer

from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.store import disk_errors, read_json, write_json
from olhar.languages import language
from olhar.prompts import prompt

SIDECAR = "olhar.json"
PAD = "<pad>"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model with all that is needed to ask it something."""

    model: Any
    tokenizer: Tokenizer
    family_name: str
    settings: Any
    prompt_name: str
    variant: str | None
    language: str

    @property
    def family(self) -> Any:
        return choose("families", self.family_name)

    def stop_ids(self) -> list[int]:
        """Ids that end an answer."""
        stops = prompt(self.prompt_name).stop(language(self.language), self.variant)
        ids = [self.tokenizer.token_to_id(stop) for stop in stops]
        return [id for id in ids if id is not None]

    def pad_id(self) -> int:
        """The padding token's id; 0 where the tokenizer has none, since masked positions are never read."""
        return self.tokenizer.token_to_id(PAD) or 0

    def save(self, folder: Path) -> None:
        """Write the folder whole: beside its place first, then renamed into it."""
        temporary = folder.with_name(folder.name + ".partial")
        with disk_errors(folder):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            self._write(temporary)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(temporary, folder)

    def _write(self, folder: Path) -> None:
        from transformers import GenerationConfig, PreTrainedTokenizerFast

        self.family.export(self.model, folder, self.settings)
        stops = self.stop_ids()
        if not stops:
            raise UserError(
                "the tokenizer does not know where an answer ends",
                str(folder),
                "use a tokenizer that knows the prompt's end-of-turn token",
            )
        if self.settings.max_tiles > 1:
            raise UserError("a chat template cannot write images of several tiles", str(folder), "set max_tiles = 1")
        image_token = self.tokenizer.token_to_id(self.family.IMAGE_TOKEN)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer, pad_token=PAD, eos_token=self.tokenizer.id_to_token(stops[0])
        )
        image_text = self.family.spell(1, self.settings)
        tokenizer.chat_template = prompt(self.prompt_name).chat_template(
            language(self.language), self.variant, image_text
        )
        tokenizer.save_pretrained(folder)
        generation = GenerationConfig(eos_token_id=stops, pad_token_id=self.pad_id(), suppress_tokens=[image_token])
        generation.save_pretrained(folder)
        write_json(folder / SIDECAR, self._sidecar())

    def _sidecar(self) -> dict[str, Any]:
        return {
            "family": self.family_name,
            "settings": self.family.settings_to_json(self.settings),
            "prompt": self.prompt_name,
            "variant": self.variant,
            "language": self.language,
        }


def load(folder: Path) -> Checkpoint:
    """The checkpoint in a folder that olhar wrote, in evaluation mode on the CPU, in float32."""
    import torch
    from transformers import AutoModelForImageTextToText

    sidecar = folder / SIDECAR
    if not sidecar.is_file():
        raise UserError(
            "this is not a checkpoint of olhar", str(folder), f"name a folder that holds {SIDECAR}, or a finished run"
        )
    row = read_json(sidecar)
    try:
        family = choose("families", row["family"])
        settings = family.settings_from_json(row["settings"])
        prompt_name, variant, code = row["prompt"], row["variant"], row["language"]
    except (KeyError, TypeError) as error:
        raise UserError(f"this file does not say {error}", str(sidecar), "publish the run again") from error
    try:
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"the weights cannot be loaded: {error}", str(folder), "publish the run again") from error
    return Checkpoint(model.eval(), read_tokenizer(folder), row["family"], settings, prompt_name, variant, code)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer exactly as ``tokenizer.json`` says; transformers' classes would rebuild parts of it."""
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises nothing more precise
        raise UserError(
            f"the tokenizer cannot be loaded: {error}", str(folder), "name a folder that holds one"
        ) from error
