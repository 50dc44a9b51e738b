"""A translation is good, as COMETKiwi judges it without a reference: Rei et al. 2022 (arXiv:2209.06243).

The model is CC-BY-NC-SA-4.0: what it chooses may not serve commercial ends. It is also gated: its licence must be
accepted on its page, with a login, before it can be fetched. So nothing asks it unless a recipe names this check.

unbabel-comet 2.2 asks for older numpy, protobuf and transformers than olhar, so the two cannot share an environment. It
runs in its own, found by the command ``comet-score`` on the PATH, as one process that is asked once a sample.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from olhar.checks._check import Check
from olhar.checks._scored import Pair, scored
from olhar.core.errors import UserError

NAME = "cometkiwi"
INSTALL = "pipx install unbabel-comet"
MODEL = "Unbabel/wmt22-cometkiwi-da"
ADVICE: Mapping[str, str] = {"poor translation": "read the turn beside its original, and translate it again if need be"}
_WORKER = Path(__file__).with_name("_comet_worker.py")


def start(*, below: float = 0.6) -> Check:
    """``below`` is a beginning: scores shift with language and domain, so look at your own first.

    Raises ``UserError`` where comet-score is not installed; the check does, where the model cannot be loaded.
    """
    command = [*_python(), str(_WORKER), MODEL]

    @cache  # begun with the first translated sample
    def worker() -> "subprocess.Popen[str]":
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def score(pairs: Sequence[Pair]) -> list[float]:
        asked, told = worker().stdin, worker().stdout
        assert asked and told  # they are pipes
        try:
            asked.write(json.dumps([{"src": original, "mt": turn} for original, turn in pairs]) + "\n")
            asked.flush()
        except BrokenPipeError:
            pass  # told below
        if not (line := told.readline()):
            raise UserError(
                f"{MODEL} could not be loaded (its licence is non-commercial, and it is gated); see above why",
                "check.checks: cometkiwi",
                f"accept the licence at https://huggingface.co/{MODEL}, then `hf auth login`",
            )
        return [float(value) for value in json.loads(line)]

    return scored(NAME, "poor translation", score, below)


def _python() -> list[str]:
    """The interpreter of the environment that holds comet-score: the first line of that script names it."""
    script = shutil.which("comet-score")
    first = Path(script).read_bytes().split(b"\n", 1)[0] if script else b""
    if not first.startswith(b"#!"):
        raise UserError(
            "the check cometkiwi needs unbabel-comet, and finds no script comet-score",
            "the PATH",
            f"{INSTALL} (in an environment of its own); its model is licensed for non-commercial use only",
        )
    return shlex.split(first[2:].decode())
