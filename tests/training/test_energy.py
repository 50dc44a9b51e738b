"""What a run costs is added up where something measures, and said to be unknown where nothing does."""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from olhar.reports.scores import amount, significant
from olhar.training import energy
from olhar.training.energy import Counted, EnergyMeter, counted_in

LOGS = Path(__file__).parents[1] / "golden" / "vitucano_logs" / "emissions-1b5-v1.csv"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Without CodeCarbon, RAPL and NVML; the folder in which RAPL's counters would be."""
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(energy, "RAPL", tmp_path / "powercap" / "intel-rapl:0" / "energy_uj")
    return tmp_path / "powercap"


def test_without_codecarbon_nothing_is_measured_and_nothing_breaks(bare: Path) -> None:
    with EnergyMeter("BRA") as meter:
        assert meter.read() == (0.0, 0.0)
    assert meter.method == "not measured" and meter.read() == (0.0, 0.0)


@dataclass
class Spent:
    energy_consumed: float = 0.25  # kWh
    emissions: float = 0.5  # kg
    gpu_energy: float = 0.0


class Tracker:
    """Stands for CodeCarbon's: every task costs the same."""

    made: ClassVar[list["Tracker"]] = []

    def __init__(self, **options: Any) -> None:
        self.options, self.stopped = options, False
        self.running: str | None = None
        Tracker.made.append(self)

    def start_task(self, name: str) -> None:
        assert self.running is None
        self.running = name

    def stop_task(self, name: str) -> Spent:
        assert self.running == name
        self.running = None
        return Spent()

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("codecarbon")
    module.OfflineEmissionsTracker = Tracker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    monkeypatch.setattr(energy, "RAPL", energy.Path("/nowhere"))
    Tracker.made.clear()


def test_kilograms_become_grams_and_readings_add_up(tracked: None) -> None:
    with EnergyMeter("VNM") as meter:
        assert meter.read() == (0.25, 500.0)
        assert meter.read() == (0.5, 1000.0)
    assert meter.read() == (0.75, 1500.0), "what came after the last reading counts too"
    (tracker,) = Tracker.made
    assert tracker.stopped and tracker.running is None
    assert tracker.options["country_iso_code"] == "VNM" and tracker.options["save_to_file"] is False


def test_an_estimate_is_not_called_a_measurement(tracked: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with EnergyMeter("BRA") as meter:
        meter.read()
        assert meter.method == "estimated"
    monkeypatch.setattr(energy, "RAPL", tmp_path)
    with EnergyMeter("BRA") as meter:
        meter.read()
        assert meter.method == "measured"


def test_an_error_inside_ends_the_measurement(tracked: None) -> None:
    with pytest.raises(KeyError), EnergyMeter("BRA"):
        raise KeyError
    assert Tracker.made[0].stopped


def processor(folder: Path, name: str, microjoules: int, most: int = 262_143_328_850) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{microjoules}\n", encoding="ascii")
    (folder / name / "max_energy_range_uj").write_text(f"{most}\n", encoding="ascii")


def test_without_codecarbon_the_machines_own_counters_are_read(bare: Path) -> None:
    processor(bare, "intel-rapl:0", 1_000_000)
    processor(bare, "intel-rapl:1", 0)
    processor(bare, "intel-rapl:0:0", 0)  # cores: inside package 0
    with EnergyMeter("BRA") as meter:
        processor(bare, "intel-rapl:0", 1_801_000_000)
        processor(bare, "intel-rapl:1", 1_800_000_000)
        processor(bare, "intel-rapl:0:0", 900_000_000)
        assert meter.read() == (pytest.approx(0.001), 0.0)
        processor(bare, "intel-rapl:1", 3_600_000_000)
    assert meter.energy_kwh == pytest.approx(0.0015), "what came after the last reading counts too"
    assert meter.counted == Counted("measured", "RAPL", co2=False)


def test_a_counter_that_begins_again_loses_nothing(bare: Path) -> None:
    processor(bare, "intel-rapl:0", 9_000_000, most=10_000_000)
    with EnergyMeter("BRA") as meter:
        processor(bare, "intel-rapl:0", 2_000_000, most=10_000_000)
        assert meter.read()[0] * 3.6e6 == pytest.approx(3.0)


class Nvml(ModuleType):
    """Three GPUs, which have used 1, 10 and 100 J at every further reading."""

    joules: ClassVar[dict[Any, int]] = {0: 1, 1: 10, "GPU-abc": 100}

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.readings: dict[Any, int] = dict.fromkeys(self.joules, 0)

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:
        if name not in self.joules:
            raise RuntimeError("not supported")
        return name

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: Any) -> int:
        self.readings[gpu] += 1
        return 1000 * self.joules[gpu] * self.readings[gpu]


@pytest.mark.parametrize(
    ("visible", "joules"), [(None, 11), ("1", 10), ("0, GPU-abc", 101), ("-1", None), ("", None), ("MIG-1", None)]
)
def test_gpus_are_counted_that_this_process_sees(
    visible: str | None, joules: int | None, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if visible == "MIG-1":
        processor(bare, "intel-rapl:0", 1)  # half of the truth is no measurement
    with EnergyMeter("BRA") as meter:
        kwh, grams = meter.read()
    assert grams == 0.0 and kwh * 3.6e6 == pytest.approx(joules or 0)
    assert meter.method == ("measured" if joules else "not measured")


def test_a_run_of_several_processes_is_counted_as_the_weakest_of_them(
    tracked: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ledger = tmp_path / "train" / "energy.jsonl"
    assert counted_in(ledger) == Counted()
    with EnergyMeter("BRA", ledger) as meter:
        meter.read()
    assert counted_in(ledger) == Counted("estimated", "CodeCarbon", co2=True)
    monkeypatch.setattr(energy, "RAPL", tmp_path)
    with EnergyMeter("BRA", ledger) as meter:
        meter.read()
        assert meter.counted == Counted("estimated", "CodeCarbon; CodeCarbon with RAPL", co2=True)
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    monkeypatch.setattr(energy, "machine_counters", lambda: None)
    with EnergyMeter("BRA", ledger) as meter:
        meter.read()
    assert counted_in(ledger).method == "not measured" and not counted_in(ledger).co2


def test_a_reading_for_every_step_is_taken_now_and_then(tracked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(energy.time, "monotonic", lambda: now)
    with EnergyMeter("BRA") as meter:
        readings = []
        for now in (0.0, 5.0, 14.0, 16.0, 20.0):  # noqa: B007 the clock reads it
            readings.append(meter.recent()[0])
    assert readings == [0.25, 0.25, 0.25, 0.5, 0.5]


def test_vitucanos_two_trainings_add_up() -> None:
    with LOGS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kwh, kg = (sum(float(row[name]) for row in rows) for name in ("energy_consumed", "emissions"))
    assert (round(kwh, 6), round(kg, 6)) == (37.001107, 14.095572)
    assert amount(kwh, "kWh") == "37 kWh" and amount(1000 * kg, "g") == "14.10 kg" and significant(1000 * kg) == 14100
