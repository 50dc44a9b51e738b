"""Programs joined into one pipe that stays open: a unit in, a unit out, each ended by a NUL."""

import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

END = b"\0"
CHUNK = 1 << 16
FAREWELL_SECONDS = 2.0


class Pipe:
    """The running programs. ``broken`` says why no more will come, or is None.

    Should this process die, its end of the pipe closes and the programs end, one after the other.
    """

    def __init__(self, programs: Sequence[Sequence[str]], patience: float) -> None:
        """Start them; ``patience``: seconds without a byte after which they are taken to hang. Raises ``OSError``."""
        self.patience = patience
        self.broken: str | None = None
        self._last_words = deque[str](maxlen=20)
        self._begun = b""  # of a unit whose end has not come yet
        self._processes: list[subprocess.Popen[bytes]] = []
        self._names = [os.path.basename(program[0]) for program in programs]
        listening, speaking = os.pipe()
        threading.Thread(target=self._listen, args=(listening,), daemon=True).start()
        try:
            for program in programs:
                before = self._processes[-1].stdout if self._processes else subprocess.PIPE
                started = subprocess.Popen(
                    program, stdin=before, stdout=subprocess.PIPE, stderr=speaking, bufsize=0, process_group=0
                )  # a group of its own: an interrupt is for us to answer
                if self._processes:
                    before.close()  # type: ignore[union-attr]
                self._processes.append(started)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(speaking)

    def through(self, units: Sequence[bytes]) -> list[bytes]:
        """What comes out for each unit, in order; fewer if the pipe broke, and then ``broken`` says why."""
        if self.broken:
            return []
        writing = threading.Thread(target=self._write, args=(b"".join(unit + END for unit in units),), daemon=True)
        writing.start()  # beside the reading, or a full pipe would stop both
        came: list[bytes] = []
        while len(came) < len(units) and not self.broken:
            came += self._read()
        if not self.broken and (len(came) > len(units) or self._begun):
            self._break("more came out than went in")
        writing.join()
        return came[: len(units)]

    def close(self) -> None:
        """End the programs; may be called twice."""
        self.broken = self.broken or "closed"
        for process in self._processes[:1]:
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
        for process in self._processes:
            try:
                process.wait(FAREWELL_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill()
        for process in self._processes[-1:]:
            process.stdout.close()  # type: ignore[union-attr]

    def _read(self) -> list[bytes]:
        """The units that ended with the next chunk."""
        output = self._processes[-1].stdout
        assert output
        ready, _, _ = select.select([output], [], [], self.patience)
        came = os.read(output.fileno(), CHUNK) if ready else b""
        if not came:
            self._break(self._death() if ready else f"nothing came out for {self.patience:g} seconds")
        *whole, self._begun = (self._begun + came).split(END)
        return whole

    def _write(self, data: bytes) -> None:
        entrance = self._processes[0].stdin
        assert entrance
        left = memoryview(data)
        with suppress(OSError):  # a program died: the reader sees it too
            while left:
                left = left[os.write(entrance.fileno(), left) :]

    def _break(self, reason: str) -> None:
        said = f" ({self._last_words[-1]})" if self._last_words else ""
        self.broken = reason + said
        self._kill()

    def _death(self) -> str:
        """Which program ended otherwise than by the end of its input, if one did."""
        until = time.monotonic() + FAREWELL_SECONDS
        while time.monotonic() < until:
            for name, process in zip(self._names, self._processes, strict=True):
                if process.poll() not in (None, 0, -signal.SIGPIPE):
                    return f"{name} ended with {process.returncode}"
            time.sleep(0.01)  # its output is closed a moment before its end is told
        return "a program ended"

    def _kill(self) -> None:
        for process in self._processes:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _listen(self, handle: int) -> None:
        with open(handle, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._last_words.append(line.strip())
