"""What machine and which versions: for bug reports and manifests."""

import os
import platform
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import metadata

from olhar import __version__

PACKAGES = (
    *("torch", "transformers", "tokenizers", "safetensors", "peft", "numpy", "pillow", "pydantic", "codecarbon"),
    "nvidia-ml-py",
)


def facts() -> dict[str, str]:
    """Name and value of everything a bug report needs; of the packages it names it imports at most NVIDIA's."""
    found = gpus()
    return {
        "olhar": __version__,
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "processor": processor(),
        **({"gpu": listed(found)} if found else {}),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        **{name: _version(name) for name in PACKAGES},
    }


def beside_the_first() -> bool:
    """Whether torchrun started this process as a further one: the first watches, writes and tells."""
    return int(os.environ.get("RANK", "0")) > 0


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = next((line for line in lines if line.startswith("model name")), "")
    except OSError:
        named = ""
    return named.partition(":")[2].strip() or platform.processor() or platform.machine()


def gpus() -> list[str]:
    """The names of NVIDIA's GPUs in this machine; none where ``nvidia-ml-py`` or a driver is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver: pynvml has an error class for each
        return []
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [_text(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    except Exception:  # a GPU that fell off its bus must not keep anybody from reporting it
        return []
    finally:
        pynvml.nvmlShutdown()


def listed(names: Sequence[str]) -> str:
    """``2 x NVIDIA H200``; one alone without its number."""
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in Counter(names).items())


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name  # bytes until version 11.5


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
