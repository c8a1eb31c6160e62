"""The measures of a round, each for one system and one dialect, for some seconds."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .client import ClosedLoop, Load, Window, first_token
from .cores import BenchError, Cores
from .figures import percentile
from .systems import STREAMS, System, Upstream
from .usage import BUSY, Meter, Reading, memory
from .wire import ENDLESS, IDLE, OPENAI, PACE_SECONDS, SHORT, Dialect, paced

CROWD = 600
KEPT = 32
# The dialect that every system supports, for measures that use only one.
COMMON = OPENAI
# How many seconds a system that can't keep up may run over.
PATIENCE = 12.0
HIGHEST_STEPS = 14

Values = dict[str, float]
MS, US = 1e6, 1e3


@dataclass(frozen=True)
class Lengths:
    """Durations in seconds, except for the numbers of single clients and idle streams."""

    window: float
    crowd: float
    loop: float
    clients: int
    idle: int


FULL = Lengths(window=1.6, crowd=1.6, loop=1.0, clients=60, idle=300)
QUICK = Lengths(window=0.7, crowd=0.7, loop=0.5, clients=30, idle=100)


class Bench:
    """Takes the measures; `others` and `limited` show how reliable they are."""

    def __init__(self, upstream: Upstream, cores: Cores, lengths: Lengths) -> None:
        self._upstream = upstream
        self._cores = cores
        self._lengths = lengths
        self._elapsed = self._others = 0.0
        self.limited: set[str] = set()

    @property
    def others(self) -> float:
        """The share of the used cores that other processes on this machine took."""
        used = {self._cores.proxy, self._cores.upstream, self._cores.load}
        return self._others / (self._elapsed * len(used)) if self._elapsed else 0.0

    def steady(self, system: System, dialect: Dialect) -> Values:
        """CPU and delay per token while the streams run."""
        _, window, reading = self._crowd(
            system, dialect, system.streams, system.ramp, self._lengths.window, "steady"
        )
        values = _percentiles("delay", window.delays, US)
        if system.roots:
            values["cpu"] = reading.proxy / max(1, window.tokens) / US
        return values

    def crowd(self, system: System, dialect: Dialect) -> Values:
        """The same with CROWD streams, and what was lost."""
        load, window, _ = self._crowd(system, dialect, CROWD, 1.0, self._lengths.crowd, "crowd")
        values = _percentiles("crowd_delay", window.delays, MS)
        values["crowd_lost"] = load.unfinished
        return values

    def waits(self, system: System, dialect: Dialect) -> Values:
        """Time to first token: for single clients one after the other, and for STREAMS concurrently."""
        request = dialect.request(SHORT)
        first_token(system.port, request)
        single = [first_token(system.port, request) for _ in range(self._lengths.clients)]
        load = Load(system.port, dialect.request(paced(10)), dialect.terminal)
        load.add([0.0] * STREAMS)
        load.run(10 * PACE_SECONDS + PATIENCE)
        load.close()
        self._upstream.settle()
        burst = [stream.first_after for stream in load.streams if stream.first_after is not None]
        if len(burst) < STREAMS:
            raise BenchError(f"{system.name}: {STREAMS - len(burst)} of {STREAMS} clients got no token")
        return {**_percentiles("single", single, MS), **_percentiles("burst", burst, MS)}

    def answers(self, system: System, dialect: Dialect) -> Values:
        """Short answers per second, not streamed."""
        loop = ClosedLoop(system.port, dialect.request(SHORT, stream=False, keep=True), KEPT)
        loop.run(self._lengths.loop / 4)
        meter = self._meter(system)
        rate = loop.run(self._lengths.loop)
        reading = meter.read()
        loop.close()
        self._judge(reading, system, "answers")
        values = {"answers": rate}
        if system.roots:
            values["answers_cpu"] = reading.proxy / (rate * reading.elapsed / 1e9) / US
        return values

    def memory(self, system: System, dialect: Dialect) -> Values:
        """Megabytes when idle, and kilobytes per stream that waits for its next token."""
        first_token(system.port, dialect.request(SHORT))
        rest = memory(system.roots)
        load = Load(system.port, dialect.request(IDLE), dialect.terminal)
        count = min(self._lengths.idle, 3 * system.streams)
        load.add(number * 0.005 for number in range(count))
        load.run_until_begun(30)
        grown = memory(system.roots).resident - rest.resident
        load.close()
        self._upstream.settle()
        return {
            "rest": rest.worker / 1e6,
            "proportional": rest.proportional / 1e6,
            "stream": grown / count / 1e3,
        }

    def most(self, system: System, dialect: Dialect, cpu: float) -> Values:
        """The most streams: adds some until tokens are late, starting below the estimate from `cpu`."""
        load = Load(system.port, dialect.request(ENDLESS), dialect.terminal)
        target, carried = 0.3e6 / cpu * PACE_SECONDS, 0
        try:
            for _ in range(HIGHEST_STEPS):
                new = int(target) - len(load.streams)
                load.add(_spread(new, max(PACE_SECONDS, new / 600)))
                load.run(new / 600 + 0.4)
                meter = self._meter(system)
                # One retry, in case other load on the machine interfered.
                in_time = _in_time(load) or _in_time(load)
                limited = self._judge(meter.read(), system, "most")
                if in_time:
                    carried = len(load.streams)
                if limited or not in_time:
                    break
                target = max(target * 1.2, carried + 1)
        finally:
            load.close()
        self._upstream.settle()
        return {"most": carried}

    def _crowd(
        self, system: System, dialect: Dialect, count: int, ramp: float, seconds: float, name: str
    ) -> tuple[Load, Window, Reading]:
        length = ramp + 0.2 + seconds
        load = Load(system.port, dialect.request(paced(round(length / PACE_SECONDS))), dialect.terminal)
        load.add(_spread(count, ramp))
        load.run(ramp + 0.2)
        meter = self._meter(system)
        window = load.run(seconds)
        reading = meter.read()
        load.run(ramp + PATIENCE)
        load.close()
        self._upstream.settle()
        self._judge(reading, system, name)
        return load, window, reading

    def _meter(self, system: System) -> Meter:
        cores = self._cores
        return Meter(system.roots, self._upstream.process, {cores.proxy, cores.upstream, cores.load})

    def _judge(self, reading: Reading, system: System, measure: str) -> bool:
        """Whether load or upstream were at their own limit."""
        self._elapsed += reading.elapsed
        self._others += reading.others
        shared = self._cores.upstream == self._cores.load
        measuring = reading.upstream + reading.load if shared else max(reading.upstream, reading.load)
        limited = measuring > BUSY * reading.elapsed and bool(system.roots)
        if limited:
            self.limited.add(f"{measure}/{system.name}")
        return limited


def _in_time(load: Load) -> bool:
    """Whether every token of a second arrived, and nearly every one before the next was due."""
    window = load.run(1.0)
    due = len(load.streams) * window.seconds / PACE_SECONDS
    late = percentile(window.gaps, 99) > 2 * PACE_SECONDS * 1e9
    return not load.refused and not late and window.tokens > 0.98 * due


def _spread(count: int, seconds: float) -> list[float]:
    """Start times spread so that the streams' tokens do not coincide."""
    chance = random.Random(count)
    return [chance.uniform(0, seconds) for _ in range(count)]


def _percentiles(name: str, nanoseconds: Sequence[int], unit: float) -> Values:
    return {f"{name}_p{percent}": percentile(nanoseconds, percent) / unit for percent in (50, 99)}
