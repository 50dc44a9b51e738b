"""The shape of a check, for those that ``start`` one."""

from collections.abc import Callable, Iterator

from olhar.core.types import Finding, Sample
from olhar.languages import Language

Check = Callable[[Sample, Sample | None, Language], Iterator[Finding]]
