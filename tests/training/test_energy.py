"""What a run costs is added up where something measures, and said to be unknown where nothing does."""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import pytest

from olhar.training import energy
from olhar.training.energy import EnergyMeter


def test_without_codecarbon_nothing_is_measured_and_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
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
