"""What a run costs: kWh and grams of CO2 by CodeCarbon, offline, with the country from the recipe."""

import logging
from pathlib import Path
from types import TracebackType
from typing import Any

RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
HINT = "pip install 'olhar[energy]' to have energy estimated"


class EnergyMeter:
    """``with EnergyMeter("BRA") as meter: ...``; ``read()`` at any time gives kWh and grams so far.

    ``method`` is ``measured`` where the hardware reports its power (RAPL, NVML), ``estimated`` from the
    processor's load otherwise, ``not measured`` without CodeCarbon.
    """

    def __init__(self, country: str) -> None:
        self.country = country
        self.method = "not measured"
        self.energy_kwh = self.co2_g = 0.0
        self._tracker: Any = None
        self._task = 0

    def __enter__(self) -> "EnergyMeter":
        try:
            from codecarbon import OfflineEmissionsTracker
        except ImportError:
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

    def read(self) -> tuple[float, float]:
        """(kWh, grams of CO2) since the beginning; zeros where nothing measures."""
        if self._tracker is not None:
            self._close_task()
            self._tracker.start_task(str(self._task))
        return self.energy_kwh, self.co2_g

    def _close_task(self) -> None:
        spent = self._tracker.stop_task(str(self._task))
        self._task += 1
        self.energy_kwh += float(spent.energy_consumed)
        self.co2_g += float(spent.emissions) * 1000  # CodeCarbon counts kilograms
        self.method = "measured" if RAPL.exists() or spent.gpu_energy else "estimated"
