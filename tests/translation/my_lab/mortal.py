"""The shouting engine on a machine that dies."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from my_lab.engine import Options as ShoutingOptions
from my_lab.engine import Shouting, told
from olhar.translators import Failure, Segment


class Options(ShoutingOptions):
    dies_at: str = ""  # the word in whose segment its process is killed
    grave: str = ""  # the file that stops it from dying again; without one it always dies


def open(options: Options, source: str, target: str) -> "Mortal":
    return Mortal(options)


class Mortal(Shouting):
    """A ``Translator`` whose process is killed in the middle of a call."""

    options: Options

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        word, grave = self.options.dies_at, self.options.grave
        if word and not (grave and Path(grave).exists()) and any(word in told(segment) for segment in segments):
            self._log(segments)
            if grave:
                Path(grave).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().translate(segments)
