"""Metrics of a run for Prometheus, collected when it scrapes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.ledger import RunStats
from pipeline.web.view import RunMonitor, drops

BOUNDS_S = (0.005, 0.01, 0.02, 0.033, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the latency histogram, seconds."""
_PREFIX = "stream_segment_"


class RunCollector(Collector):
    """A run as Prometheus metrics.

    Args:
        monitor: the run.
        viewers: returns the current number of viewers.
    """

    def __init__(self, monitor: RunMonitor, viewers: Callable[[], int]) -> None:
        self._monitor = monitor
        self._viewers = viewers

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics with their current values."""
        view = self._monitor.view
        stats = view.ledger.recent(view.clock())
        yield from _frames(stats)
        yield self._latency()
        yield from self._now()
        yield CounterMetricFamily(
            f"{_PREFIX}source_reconnects", "How often the source was lost and reconnected.", value=view.reconnects()
        )

    def _latency(self) -> Metric:
        latency = self._monitor.view.ledger.latency(self._monitor.view.clock(), BOUNDS_S)
        buckets = [(str(bound), float(n)) for bound, n in zip(BOUNDS_S, latency.counts_up_to, strict=True)]
        return HistogramMetricFamily(
            f"{_PREFIX}latency_seconds",
            "From capture to presentation.",
            buckets=[*buckets, ("+Inf", float(latency.count))],
            sum_value=latency.total_s,
        )

    def _now(self) -> Iterator[Metric]:
        objects = GaugeMetricFamily(f"{_PREFIX}objects", "Objects on the newest frame, by class.", labels=["class"])
        for name, count in self._monitor.objects().items():
            objects.add_metric([name], count)
        yield objects
        state = self._monitor.view.controls.state
        gauges = (
            ("viewers", "Viewers of the page.", self._viewers()),
            ("recording", "1 while recording.", int(state.recording)),
            ("healthy", "1 while frames are presented.", int(self._monitor.health().ok)),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(_PREFIX + name, text, value=value)


def _frames(stats: RunStats) -> Iterator[Metric]:
    passed = CounterMetricFamily(f"{_PREFIX}frames", "Frames that passed a stage.", labels=["stage"])
    for stage, count in (("capture", stats.captured), ("inference", stats.inferred), ("display", stats.presented)):
        passed.add_metric([stage], count)
    yield passed
    lost = CounterMetricFamily(
        f"{_PREFIX}frames_dropped",
        "Frames dropped, by the stage in front of which they were dropped.",
        labels=["stage", "cause"],
    )
    for stage, cause, count in drops(stats):
        lost.add_metric([stage, cause], count)
    yield lost
    by_sink = CounterMetricFamily(
        f"{_PREFIX}sink_frames_dropped", "Presented frames that an output was too slow for.", labels=["sink"]
    )
    for sink, count in sorted(stats.sink_dropped.items()):
        by_sink.add_metric([sink], count)
    yield by_sink
    rates = GaugeMetricFamily(f"{_PREFIX}fps", "Frames per second over the last seconds.", labels=["stage"])
    for stage, rate in (
        ("capture", stats.capture_fps),
        ("inference", stats.inference_fps),
        ("display", stats.display_fps),
    ):
        if rate is not None:
            rates.add_metric([stage], rate)
    yield rates
    if stats.inference_p50_s is not None:
        yield GaugeMetricFamily(
            f"{_PREFIX}inference_seconds_median", "Time in the network.", value=stats.inference_p50_s
        )


class Metrics:
    """The metrics endpoint of one run and its process.

    Args:
        monitor: the run.
        viewers: returns the current number of viewers.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, monitor: RunMonitor, viewers: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(RunCollector(monitor, viewers))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
