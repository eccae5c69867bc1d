"""What a request was completed from and when: what a log of requests holds beside the request, and is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from pipeline.online.completion import Completed
from schema.spec import RankingSpec
from schema.statistics import statistics_of


@dataclass(frozen=True)
class Origin:
    """What a request was completed from.

    Attributes:
      digest: of the definition.
      generation: its name.
      until: the day (since 1970-01-01) up to whose end the generation is complete.
      moment: when the request was, in ticks.
      ticks_per_second: of `moment` and `latest_event`.
      latest_event: the time of the latest row that events had added since the generation; None without any.
      behaviour_delays, statistic_delays: how old a row is before it counts, by name, in seconds.
    """

    digest: str
    generation: str
    until: int
    moment: int
    ticks_per_second: int
    latest_event: int | None
    behaviour_delays: dict[str, int]
    statistic_delays: dict[str, int]

    @classmethod
    def of(cls, spec: RankingSpec, done: Completed) -> Self:
        """Returns where a completed request comes from."""
        generation = done.generation
        return cls(
            generation.digest,
            generation.name,
            generation.until,
            done.moment,
            generation.with_precision(spec).log.timestamp.ticks_per_second,
            done.updates.latest,
            {behaviour.name: behaviour.delay for behaviour in spec.behaviours},
            {statistic.name: statistic.delay for statistic in statistics_of(spec)},
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Reads it from a record.

        Raises:
          ValueError: a value is missing, or of another type.
        """
        named: dict[str, Any] = {field.name: values.get(field.name) for field in fields(cls)}
        origin = cls(**named)
        numbers = [origin.until, origin.moment, origin.ticks_per_second, origin.latest_event or 0]
        delays = [origin.behaviour_delays, origin.statistic_delays]
        if (
            not all(isinstance(number, int) for number in numbers)
            or not all(isinstance(by_name, dict) for by_name in delays)
            or not all(isinstance(delay, int) for by_name in delays for delay in by_name.values())
            or origin.ticks_per_second < 1
        ):
            raise ValueError(f"origin: expected what a store's answer comes from, got {dict(values)}")
        return origin
