"""What may be said to every engine that is a service."""

from pydantic import Field

from olhar.translators import EngineOptions, Limits


class ServiceOptions(EngineOptions):
    """concurrent: requests at a time.
    timeout_seconds: from connecting to the last byte of a reply."""

    concurrent: int = Field(default=4, ge=1, le=64)
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600)
    calls_per_minute: float | None = Field(default=None, gt=0)
    currency: str = "USD"


class PricedOptions(ServiceOptions):
    """price: of a million characters; list prices change, look it up."""

    price: float = Field(default=20.0, ge=0)

    def limits(self, segments: int, characters: int) -> Limits:
        return Limits(segments, characters, self.calls_per_minute, self.concurrent, self.price, self.currency)
