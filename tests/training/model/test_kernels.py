"""Kernels for a GPU are refused where there is none, and given to the language model alone where there is."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import transformers.integrations.liger

from olhar.core.errors import UserError
from olhar.training.model import kernels
from tests.training.small_models import composed


class OnGpu:
    """A model whose parameters say that they are on a GPU."""

    def __init__(self, kind: str) -> None:
        self.model = SimpleNamespace(language_model=SimpleNamespace(config=SimpleNamespace(model_type=kind)))

    def parameters(self) -> Any:
        return iter([SimpleNamespace(device=SimpleNamespace(type="cuda"))])


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, bool]]]:
    """A stand-in for the package, and what it was asked to change."""
    given: list[tuple[Any, dict[str, bool]]] = []
    patches = ModuleType("liger_kernel.transformers.monkey_patch")
    patches.MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": None}  # type: ignore[attr-defined]
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, patches.__name__, patches)
    monkeypatch.setattr(kernels, "find_spec", lambda name: True)
    monkeypatch.setattr(transformers.integrations.liger, "apply_liger_kernel", lambda *said: given.append(said))
    return given


def test_without_a_gpu_they_are_refused() -> None:
    with pytest.raises(UserError, match="GPU alone"):
        kernels.apply_liger(composed("llava")[0])


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "olhar\[liger\]"'):
        kernels.apply_liger(OnGpu("llama"))


def test_only_the_language_model_gets_them_and_no_loss(liger: list[tuple[Any, dict[str, bool]]]) -> None:
    model = OnGpu("llama")
    kernels.apply_liger(model)
    [(changed, options)] = liger
    assert changed is model.model.language_model and not any(options.values())
    assert options.keys() >= {"fused_linear_cross_entropy", "cross_entropy", "rope"}


def test_a_language_model_without_kernels_is_refused(liger: list[Any]) -> None:
    with pytest.raises(UserError, match="'elsewhere'"):
        kernels.apply_liger(OnGpu("elsewhere"))
    assert not liger
