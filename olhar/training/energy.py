"""What a run costs: kWh and grams of CO2 by CodeCarbon, offline, with the country from the recipe.

Without CodeCarbon the machine's own counters are read where it has them: kWh then, and no CO2.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Method = Literal["not measured", "estimated", "measured"]
METHODS: tuple[Method, ...] = ("not measured", "estimated", "measured")  # the weakest first

RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
HINT = "pip install 'olhar[energy]' to have energy estimated"
JOULES = 3.6e6  # in a kWh
FRESH = 15.0  # seconds for which a reading is good enough to be shown


@dataclass(frozen=True, slots=True)
class Counted:
    """How energy was counted: ``source`` names what counted, ``co2`` says whether grams are known too."""

    method: Method = "not measured"
    source: str = ""
    co2: bool = False


def counted_in(ledger: Path) -> Counted:
    """How the energy of a run was counted, over all its processes: as the weakest of them.

    A sum of which a part is estimated is an estimate; one of which a part is missing was not measured.
    """
    return _together(_lines(ledger))


def _lines(ledger: Path) -> list[Counted]:
    if not ledger.exists():
        return []
    lines = ledger.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Counted(**json.loads(line)) for line in lines if line.endswith("\n")]


def _together(found: list[Counted]) -> Counted:
    if not found:
        return Counted()
    sources = dict.fromkeys(one.source for one in found if one.source)
    weakest = min((one.method for one in found), key=METHODS.index)
    return Counted(weakest, "; ".join(sources), all(one.co2 for one in found))


class EnergyMeter:
    """``with EnergyMeter("BRA") as meter: ...``; ``read()`` at any time gives kWh and grams so far.

    ``counted`` says how, here and in the earlier processes of the run: ``measured`` where the hardware reports its
    energy (RAPL, NVML), ``estimated`` from the processor's load otherwise, ``not measured`` where nothing counts.

    Args:
        country: ISO 3166-1 alpha-3 code, whose grams of CO2 a kWh are taken.
        ledger: JSON lines, one for every way of counting that processes of this run had.
    """

    def __init__(self, country: str, ledger: Path | None = None) -> None:
        self.country = country
        self.energy_kwh = self.co2_g = 0.0
        self._ledger, self._earlier = ledger, _lines(ledger) if ledger else []
        self._own: Counted | None = None
        self._tracker: Any = None
        self._counters: Callable[[], float] | None = None
        self._task, self._read_at = 0, -FRESH

    @property
    def counted(self) -> Counted:
        return _together([*self._earlier, *([self._own] if self._own else [])])

    @property
    def method(self) -> Method:
        return self.counted.method

    def __enter__(self) -> "EnergyMeter":
        try:
            from codecarbon import OfflineEmissionsTracker
        except ImportError:
            self._counters = machine_counters()
            return self
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # it greets before it reads log_level
        self._tracker = OfflineEmissionsTracker(
            country_iso_code=self.country,
            measure_power_secs=15,
            save_to_file=False,
            log_level="critical",
            tracking_mode="machine",
            allow_multiple_runs=True,
        )
        self._tracker.start_task(str(self._task))
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._tracker is not None:
            self._close_task()
            self._tracker.stop()
            self._tracker = None
        elif self._counters is not None:
            self._count(self._counters)
            self._counters = None

    def read(self) -> tuple[float, float]:
        """(kWh, grams of CO2) since the beginning; zeros where nothing measures."""
        if self._tracker is not None:
            self._close_task()
            self._tracker.start_task(str(self._task))
        elif self._counters is not None:
            self._count(self._counters)
        elif self._own is None:
            self._note(Counted())
        self._read_at = time.monotonic()
        return self.energy_kwh, self.co2_g

    def recent(self) -> tuple[float, float]:
        """As ``read``, at most ``FRESH`` seconds old: cheap enough for every step."""
        return self.read() if time.monotonic() - self._read_at >= FRESH else (self.energy_kwh, self.co2_g)

    def _close_task(self) -> None:
        spent = self._tracker.stop_task(str(self._task))
        self._task += 1
        self.energy_kwh += float(spent.energy_consumed)
        self.co2_g += float(spent.emissions) * 1000  # CodeCarbon counts kilograms
        by = [name for name, there in (("RAPL", os.access(RAPL, os.R_OK)), ("NVML", spent.gpu_energy)) if there]
        version = getattr(spent, "codecarbon_version", "")
        source = f"CodeCarbon {version}".strip() + (f" with {' and '.join(by)}" if by else "")
        self._note(Counted("measured" if by else "estimated", source, co2=True))

    def _count(self, counters: Callable[[], float]) -> None:
        self.energy_kwh += counters() / JOULES
        self._note(Counted("measured", str(counters)))

    def _note(self, counted: Counted) -> None:
        """Remember how this process counts; a GPU that was idle at first makes another line."""
        if counted == self._own:
            return
        if self._own is None or METHODS.index(counted.method) > METHODS.index(self._own.method):
            self._own = counted
        if self._ledger and self._own not in _lines(self._ledger):
            self._ledger.parent.mkdir(parents=True, exist_ok=True)
            with open(self._ledger, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(asdict(self._own)) + "\n")


class Counters:
    """Joules since the last call, by the machine's own counters: processors (RAPL) and NVIDIA GPUs (NVML)."""

    def __init__(self, processors: list[Path], gpus: Sequence[Callable[[], float]]) -> None:
        self._processors, self._gpus = processors, gpus
        self._before = self._now()

    def __str__(self) -> str:
        return " and ".join(name for name, there in (("RAPL", self._processors), ("NVML", self._gpus)) if there)

    def __call__(self) -> float:
        before, self._before = self._before, self._now()
        spent = 0.0
        for place, (now, then) in enumerate(zip(self._before, before, strict=True)):
            wrapped = now < then and place < len(self._processors)  # its counter begins again from 0
            spent += now - then + (_microjoules(self._processors[place], "max_energy_range_uj") if wrapped else 0.0)
        return spent

    def _now(self) -> list[float]:
        return [_microjoules(path, "energy_uj") for path in self._processors] + [gpu() for gpu in self._gpus]


def machine_counters() -> Counters | None:
    """What this machine counts by itself; None where it counts nothing, or not all GPUs that this process sees."""
    folder = RAPL.parent.parent
    found = sorted(folder.glob("intel-rapl:*")) if folder.exists() else []
    packages = [path for path in found if path.name.count(":") == 1 and os.access(path / "energy_uj", os.R_OK)]
    gpus = _gpus()
    return Counters(packages, gpus) if gpus is not None and (packages or gpus) else None


def _microjoules(package: Path, name: str) -> float:
    """A RAPL file, in joules."""
    return int((package / name).read_text(encoding="ascii")) / 1e6


def _gpus() -> Sequence[Callable[[], float]] | None:
    """For each GPU this process sees, what reads its joules since its driver was loaded; None where one has none."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver: pynvml has an error class for each
        return []
    try:
        handles = [_handle(pynvml, name) for name in _visible(pynvml.nvmlDeviceGetCount())]
        readings = [partial(_joules, pynvml, handle) for handle in handles]
        for reading in readings:
            reading()
        return readings
    except Exception:  # older than Volta, or a part of a GPU: they do not count
        return None


def _visible(count: int) -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]


def _joules(pynvml: Any, handle: Any) -> float:
    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3  # it counts millijoules


def _handle(pynvml: Any, name: str) -> Any:
    if name.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    return pynvml.nvmlDeviceGetHandleByUUID(name)
