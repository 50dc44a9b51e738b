"""Loading a checkpoint's model: where it runs, how exact, how its attention is computed."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError

from olhar.core.errors import UserError

DType = Literal["auto", "float32", "bfloat16", "float16"]
Quantize = Literal["4bit", "8bit"]
UNQUANTIZED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]  # few weights; they read the image


@dataclass(frozen=True, slots=True)
class Loading:
    """How to load a model.

    dtype: ``auto`` is float32 on a CPU, elsewhere the type in which the weights are stored.
    device: ``auto`` is the first GPU if there is one, else the CPU; or torch's name, ``cuda:1``.
    attention: transformers' name of an implementation (``sdpa``, ``eager``, ``flash_attention_2``); None: its choice.
    quantize: language-model weights in 4 (nf4) or 8 bits by bitsandbytes; tower and projector stay as they are.
    """

    dtype: DType = "auto"
    device: str = "auto"
    attention: str | None = None
    quantize: Quantize | None = None

    def options(self) -> dict[str, Any]:
        """Keyword arguments of ``from_pretrained``; raises ``UserError`` for what this machine cannot do."""
        import torch

        device, dtype = self._device(), self._dtype()
        options: dict[str, Any] = {"local_files_only": True}
        options["dtype"] = (torch.float32 if device == "cpu" else "auto") if dtype == "auto" else getattr(torch, dtype)
        if self.attention:
            options["attn_implementation"] = self.attention
        if self.quantize:
            options |= {"quantization_config": self._quantization(options["dtype"]), "device_map": {"": device}}
        return options

    def _dtype(self) -> str:
        if self.dtype not in get_args(DType):
            raise UserError(f"no number type {self.dtype!r}", "--dtype", f"choose one of {', '.join(get_args(DType))}")
        return self.dtype

    def _device(self) -> str:
        import torch

        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            what = f"this machine has no device {self.device!r}: {str(error).splitlines()[0]}"
            raise UserError(
                what, "--device", "leave it out, or name one that torch knows: cpu, cuda, cuda:1"
            ) from error
        return self.device

    def _quantization(self, dtype: Any) -> Any:
        import torch
        from transformers import BitsAndBytesConfig

        if self.quantize not in get_args(Quantize):
            raise UserError(f"cannot quantize to {self.quantize!r}", "--quantize", "choose 4bit or 8bit")
        for package in ("bitsandbytes", "accelerate"):
            if find_spec(package) is None:
                raise UserError(f"quantizing needs {package}", "--quantize", 'pip install "olhar[quantize]"')
        compute = dtype if isinstance(dtype, torch.dtype) else torch.bfloat16
        if self.quantize == "8bit":
            return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=UNQUANTIZED)
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=compute,
            llm_int8_skip_modules=UNQUANTIZED,
        )


def load_model(folder: Path, loading: Loading) -> Any:
    """transformers' model in evaluation mode; every weight must be in the files, and nothing else."""
    options = loading.options()
    try:
        model, report = _from_pretrained(folder, **options)
    except ImportError as error:
        fix = "leave --attention out, or install what the message names"
        raise UserError(f"this machine cannot run it so: {error}", "--attention", fix) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"the model cannot be loaded: {error}", str(folder), "write the folder again") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[kind]:
            names = ", ".join(sorted(map(str, report[kind]))[:3])
            raise UserError(f"{kind.replace('_', ' ')} in the weights: {names}", str(folder), "write the folder again")
    return (model if loading.quantize else model.to(loading._device())).eval()


def _from_pretrained(folder: Path, **options: Any) -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True, **options)
