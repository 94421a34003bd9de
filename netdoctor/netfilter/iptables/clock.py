"""The window of `-m time`. Knows nothing of where the clock comes from.

Kernel: net/netfilter/xt_time.c:time_mt
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netdoctor.netfilter.iptables.extension import Option

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Window:
    """When the rule holds. With `--contiguous` a day's window may reach into the next day's morning."""

    def __init__(self, options: tuple[Option, ...]) -> None:
        values = {option.name: option for option in options}
        start, stop = values.get("--timestart"), values.get("--timestop")
        self.start = _time(start.value) if start else time(0)
        self.stop = _time(stop.value) if stop else time(23, 59, 59)
        self.first = _date(values["--datestart"].value) if "--datestart" in values else None
        self.last = _date(values["--datestop"].value) if "--datestop" in values else None
        self.weekdays = _days(values.get("--weekdays"), 7)
        self.monthdays = _days(values.get("--monthdays"), 31)
        self.contiguous = "--contiguous" in values

    def contains(self, now: datetime) -> bool:
        """Say whether `now` lies in the window."""
        if (self.first and now < self.first) or (self.last and now > self.last):
            return False
        clock = now.time().replace(microsecond=0)
        day = now
        if self.start < self.stop:
            if not self.start <= clock <= self.stop:
                return False
        elif self.stop < clock < self.start:
            return False
        elif self.contiguous and clock <= self.stop:
            day = now - timedelta(days=1)
        return day.isoweekday() in self.weekdays and day.day in self.monthdays


def _time(text: str) -> time:
    hours, minutes, seconds = (*map(int, text.split(":")), 0)[:3]
    return time(hours, minutes, seconds)


def _date(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _days(option: Option | None, most: int) -> frozenset[int]:
    everything = frozenset(range(1, most + 1))
    if option is None:
        return everything
    words = option.value.lower().split(",")
    named = frozenset(_DAYS.index(word[:3]) + 1 if word[:3] in _DAYS else int(word) for word in words)
    return everything - named if option.negated else named
