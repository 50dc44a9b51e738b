"""What machine and which versions: for bug reports and manifests."""

import os
import platform
import sys
from importlib import metadata

from olhar import __version__

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pillow", "pydantic", "codecarbon")


def facts() -> dict[str, str]:
    """Name and value of everything a bug report needs; imports none of the packages it names."""
    return {
        "olhar": __version__,
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        **{name: _version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = next((line for line in lines if line.startswith("model name")), "")
    except OSError:
        named = ""
    return named.partition(":")[2].strip() or platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
