"""Every process of a team says once a second that it lives, so that the loss of one is noticed by all.

gloo notices a closed connection by itself; NCCL waits for ever, and so does everything on a machine that is gone.
"""

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

BEAT = 1.0  # seconds between two signs of life
MISSED = 6.0  # seconds without one after which a process counts as lost, when a collective has failed already
SILENCE = 120.0  # the same, when nothing else is wrong: a busy machine may be late
LAST_WORDS = "last-words"
DONE = "done"


class Heartbeat:
    """Signs of life of all processes, exchanged through the team's store by a thread.

    ``store``: this thread's own connection. ``given_up`` is called once, with the ranks that were lost, when one is
    silent for ``silence`` seconds without having said that it is done, or when the store itself is gone.
    ``words``: what a process said before it ended with an error.
    """

    def __init__(
        self,
        store: Any,
        rank: int,
        size: int,
        given_up: Callable[[list[int]], None],
        beat: float = BEAT,
        silence: float = SILENCE,
    ) -> None:
        self.store, self.rank, self.given_up, self.beat, self.silence = store, rank, given_up, beat, silence
        self.others = [other for other in range(size) if other != rank]
        self.counts = dict.fromkeys(self.others, 0)
        self.heard = dict.fromkeys(self.others, time.monotonic())
        self.words = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """This process is done, and needs the others no longer."""
        self._stopped.set()
        self._thread.join(self.beat * 3)
        with suppress(Exception):  # the store may have ended with the process that held it
            self.store.set(f"beat-{self.rank}", DONE)

    def lost(self, missed: float = MISSED) -> list[int]:
        """Which processes give no sign of life from now on; returns as soon as all have given two."""
        before, end = dict(self.counts), time.monotonic() + missed
        while time.monotonic() < end and self._thread.is_alive():
            if all(self.counts[other] > before[other] + 1 for other in self.others):
                return []
            time.sleep(self.beat / 10)
        return [other for other in self.others if self.counts[other] <= before[other] + 1]

    def _run(self) -> None:
        count = 0
        while not self._stopped.is_set():
            count += 1
            try:
                self._exchange(count)
            except Exception:  # the store went down with the process that held it
                silent = self.others
            else:
                now = time.monotonic()
                silent = [other for other in self.others if now - self.heard[other] > self.silence]
            if silent and not self._stopped.is_set():
                self.given_up(silent)
                return
            self._stopped.wait(self.beat)

    def _exchange(self, count: int) -> None:
        self.store.set(f"beat-{self.rank}", str(count))
        for other in self.others:
            if self.store.check([f"beat-{other}"]):
                heard = self.store.get(f"beat-{other}").decode()
                if heard == DONE:
                    self.heard[other] = math.inf
                elif int(heard) != self.counts[other]:
                    self.counts[other], self.heard[other] = int(heard), time.monotonic()
        if not self.words and self.store.check([LAST_WORDS]):
            self.words = self.store.get(LAST_WORDS).decode()
