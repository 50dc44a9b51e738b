"""Liger's Triton kernels for the language model (Hsu et al. 2024, arXiv:2410.10989): norms and gated MLPs, on a GPU."""

from importlib.util import find_spec
from typing import Any

from olhar.core.errors import UserError

WHERE = 'train.kernels = "liger"'


def apply_liger(model: Any) -> None:
    """Let a model's language model compute with Liger's kernels; parameters, names and results stay as they are.

    Rotary positions stay transformers' own (they are one function for all models), and so does the loss, which is
    computed on labelled tokens alone.

    Raises:
        UserError: the model is not on a GPU, the package is missing, or it has no kernels for this architecture.
    """
    if next(model.parameters()).device.type != "cuda":
        raise UserError("these kernels run on a GPU alone", WHERE, "leave kernels out, or train on a machine with one")
    if find_spec("liger_kernel") is None:
        raise UserError("these kernels need liger-kernel", WHERE, 'pip install "olhar[liger]"')
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN
    from transformers.integrations.liger import apply_liger_kernel

    language_model = model.model.language_model
    kind = language_model.config.model_type
    if kind not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise UserError(f"Liger has no kernels for a language model of type {kind!r}", WHERE, "leave kernels out")
    apply_liger_kernel(language_model, {"rope": False, "cross_entropy": False, "fused_linear_cross_entropy": False})
