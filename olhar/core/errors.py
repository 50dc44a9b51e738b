"""The errors a person meets.

::

    Exception
    └── OlharError
        └── UserError            what happened, where, how to fix it; exit code 2
            ├── RecipeError      every problem of one recipe at once
            ├── UnknownName      a name that no file of a folder answers to
            ├── StageError       a run folder that does not fit what was asked
            └── DiskError        the file system refused (full, read-only, no permission)

Anything that is not a ``UserError`` is a defect of olhar and keeps its traceback.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class OlharError(Exception):
    """Root of all errors raised on purpose."""


class UserError(OlharError):
    """Something a person can mend: three lines saying what, where and how."""

    def __init__(self, what: str, where: str, fix: str) -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(f"{what}\n  where: {where}\n  fix:   {fix}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.where, self.fix)  # as a worker process sends it


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a recipe: its dotted location, what is wrong, how to mend it."""

    where: str
    what: str
    fix: str


class RecipeError(UserError):
    """All problems of a recipe, told at once so that one edit mends them."""

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [f"{p.where}: {p.what} (fix: {p.fix})" for p in problems]
        many = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        super().__init__(f"the recipe has {many}\n  - " + "\n  - ".join(lines), path, "edit the lines named above")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.where, self.problems)


class UnknownName(UserError):
    """A name that is not among the files of a folder."""


class StageError(UserError):
    """A run folder, stage or manifest that does not fit what was asked."""


class DiskError(UserError):
    """The file system refused a write."""
