"""How fast calls may follow, how long to wait after one that failed, when to give up, and what may be spent."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from olhar.core.errors import UserError
from olhar.translators import About, Limits

GO_ON = "give the same command again when the engine answers: everything translated so far is kept and not paid twice"


@dataclass(frozen=True, slots=True)
class Patience:
    """What is put up with.

    attempts: calls for one segment in one sweep. failures: calls in a row from which nothing came, then work stops.
    first_wait, longest_wait: seconds before a second call, doubled each time (an engine that names a time to wait
    is obeyed, however long). answer: seconds in which something must come back.
    """

    attempts: int = 6
    failures: int = 12
    first_wait: float = 1.0
    longest_wait: float = 60.0
    answer: float = 1800.0
    seed: int | None = None  # of the jitter


class Pace:
    """A token bucket, a common waiting time, a circuit breaker; shared by all workers of one engine.

    now, sleep: the clock. A sleep ends early when work stops.
    """

    def __init__(
        self,
        calls_per_minute: float | None,
        patience: Patience,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._rate = calls_per_minute / 60 if calls_per_minute else None  # calls a second
        self._patience, self._now = patience, now
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._random = random.Random(patience.seed)
        self._lock = threading.Lock()
        self._next_call = now()
        self._held_until = now()
        self._failures = 0

    def wait(self) -> UserError | None:
        """Come back when a call may be made; an error when work has stopped meanwhile."""
        with self._lock:
            begin = max(self._next_call, self._now())
            self._next_call = begin + (1 / self._rate if self._rate else 0.0)
        while not self._stopped.is_set():
            rest = max(begin, self._held_until) - self._now()
            if rest <= 0:
                return None
            self._sleep(rest)
        return UserError("work stopped before this call", "the engine's other calls", GO_ON)

    def overdue(self, seconds: float) -> bool:
        """Whether an answer should have come: this long has passed since a call was last due."""
        return self._now() > max(self._next_call, self._held_until) + seconds

    def hold(self, asked: float, tries: int) -> None:
        """Let every worker wait: as long as the engine asks, or longer with each try, and never all alike."""
        patience = self._patience
        with self._lock:
            backoff = min(patience.longest_wait, patience.first_wait * 2 ** max(0, tries - 1))
            seconds = max(asked, backoff * self._random.uniform(0.5, 1.0))
            self._held_until = max(self._held_until, self._now() + seconds)

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, reason: str, about: About) -> UserError | None:
        """Count a call from which nothing came; the error that ends work when there were too many in a row."""
        with self._lock:
            self._failures += 1
            if self._failures < self._patience.failures:
                return None
        what = f"the engine failed {self._patience.failures} times in a row, at last: {reason}"
        return UserError(what, f"engine {about.name} {about.version}", GO_ON)

    def stop(self) -> None:
        """No further call begins, and nobody waits any longer."""
        self._stopped.set()


class Purse:
    """What calls cost, and the most that they may.

    most: in the engine's currency; None for no limit. spent: what the same work has cost in earlier runs.
    measured: what the engine itself says it has charged since it was opened; without it, characters times price.
    """

    def __init__(
        self,
        limits: Limits,
        most: float | None = None,
        spent: float = 0.0,
        measured: Callable[[], float] | None = None,
    ) -> None:
        self._price, self._currency, self._most = limits.price, limits.currency, most
        self._spent, self._set_aside = spent, 0.0
        self._measured = measured
        self._told = measured() if measured else 0.0
        self._lock = threading.Lock()

    def price_of(self, characters: int) -> float:
        return characters * self._price / 1_000_000

    def take(self, characters: int) -> UserError | None:
        """Set aside what a call will cost; an error, and nothing set aside, where that is too much."""
        price = self.price_of(characters)
        with self._lock:
            gone = self._spent + self._set_aside
            if self._most is None or gone + price <= self._most:
                self._set_aside += price
                return None
        return UserError(
            f"the next call would cost about {price:.4f} {self._currency}, which with {gone:.4f} spent or under way is"
            f" more than the {self._most} allowed",
            "the limit of cost",
            "raise it and give the same command again: everything paid for is in the cache",
        )

    def settle(self, taken: int, charged: int) -> float:
        """After a call for which ``taken`` characters were set aside and ``charged`` were not refused: its cost."""
        with self._lock:
            self._set_aside -= self.price_of(taken)
            if self._measured is None:
                cost = self.price_of(charged)
            else:  # calls side by side: each pays for what was charged since the last one came back
                told = self._measured()
                cost, self._told = told - self._told, told
            self._spent += cost
            return cost
