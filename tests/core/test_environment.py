"""What a bug report says of the machine."""

import sys

import pytest

import olhar
from olhar.core import environment


def test_facts_are_words_about_what_is_installed() -> None:
    facts = environment.facts()
    assert facts["olhar"] == olhar.__version__ and facts["python"] == sys.version.split()[0]
    assert set(environment.PACKAGES) <= facts.keys() and all(facts.values())
    assert facts["torch"][0].isdigit() and facts["memory"].endswith(" GiB")


def test_a_package_that_is_missing_is_said_to_be() -> None:
    assert environment._version("no-such-package-anywhere") == "not installed"


class Nvml:
    """What ``pynvml`` answers on a machine of three GPUs."""

    def __init__(self, broken: bool = False) -> None:
        self.broken, self.open = broken, 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if self.broken and index == 2:
            raise RuntimeError("GPU is lost")
        return index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return b"NVIDIA H200" if handle < 2 else "NVIDIA L4"


def test_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert environment.gpus() == ["NVIDIA H200", "NVIDIA H200", "NVIDIA L4"]
    assert environment.facts()["gpu"] == "2 x NVIDIA H200, NVIDIA L4" and nvml.open == 0


@pytest.mark.parametrize("nvml", [None, Nvml(broken=True)])
def test_without_gpus_there_is_no_line(monkeypatch: pytest.MonkeyPatch, nvml: Nvml | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)  # None: importing it raises ImportError
    assert environment.gpus() == [] and "gpu" not in environment.facts()
    assert nvml is None or nvml.open == 0
