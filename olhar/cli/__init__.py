"""One command per stage, plus plan, run, convert, chat, list and env. Imports no torch: help answers at once."""

import os
import sys

from rich.console import Console
from rich.markup import escape

from olhar.cli import stages, tools  # noqa: F401  they register their commands, in this order
from olhar.cli._app import app
from olhar.core.errors import UserError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; a person's mistake ends in three lines and exit code 2."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours is the one bar a person needs
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read when torch is imported; DDP warns at length
    try:
        app()
    except UserError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red bold]error:[/] {escape(str(error))}")
        sys.exit(2)
