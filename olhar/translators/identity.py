"""Gives back what it gets: for estimates, and to see what the work around an engine does to a text."""

from collections.abc import Sequence

from olhar.translators import About, EngineOptions, Failure, Limits, Segment


class Options(EngineOptions):
    """There is nothing to say."""


def open(options: Options, source: str, target: str) -> "Identity":
    """For any direction."""
    return Identity()


class Identity:
    """A ``Translator`` that costs nothing and changes nothing."""

    about = About("identity", "1", "none")
    limits = Limits(segments=4096)
    keeps = True
    deterministic = True

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        return list(segments)

    def close(self) -> None:
        """There is nothing to end."""
