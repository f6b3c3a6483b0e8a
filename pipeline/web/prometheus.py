"""Metrics of a run for Prometheus, collected when it scrapes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.web.feed import Feed
from pipeline.web.view import drops

BOUNDS_S = (0.005, 0.01, 0.02, 0.033, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the latency histogram, seconds."""
_PREFIX = "stream_segment_"
Kind = type[CounterMetricFamily] | type[GaugeMetricFamily]


class Metrics(Collector):
    """The metrics endpoint of a run and its process.

    Args:
        feeds: of its cameras, by name; "" stands for the only one, whose metrics have no label `camera`.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics of the run with their current values: each once, with the samples of all cameras."""
        metrics: dict[str, Metric] = {}
        for camera, feed in self._feeds.items():
            own = {"camera": camera} if camera else {}
            for metric in _metrics(feed):
                whole = metrics.setdefault(metric.name, _without_samples(metric))
                whole.samples += [sample._replace(labels=own | sample.labels) for sample in metric.samples]
        yield from metrics.values()


def _without_samples(metric: Metric) -> Metric:
    return Metric(metric.name, metric.documentation, metric.type)


def _metrics(feed: Feed) -> Iterator[Metric]:
    """The metrics of one camera."""
    monitor, view = feed.monitor, feed.monitor.view
    now_s = view.clock()
    stats, latency = view.ledger.recent(now_s), view.ledger.latency(now_s, BOUNDS_S)
    passed = {"capture": stats.captured, "inference": stats.inferred, "display": stats.presented}
    yield _family(CounterMetricFamily, "frames", "Frames that passed a stage.", _by_name(passed), "stage")
    lost: dict[tuple[str, ...], float] = {(stage, cause): count for stage, cause, count in drops(stats)}
    text = "Frames dropped, by the stage in front of which they were dropped."
    yield _family(CounterMetricFamily, "frames_dropped", text, lost, "stage", "cause")
    text = "Presented frames that an output was too slow for."
    yield _family(CounterMetricFamily, "sink_frames_dropped", text, _by_name(stats.sink_dropped), "sink")
    rates = {"capture": stats.capture_fps, "inference": stats.inference_fps, "display": stats.display_fps}
    known = {stage: rate for stage, rate in rates.items() if rate is not None}
    yield _family(GaugeMetricFamily, "fps", "Frames per second over the last seconds.", _by_name(known), "stage")
    objects = _by_name(monitor.objects())
    yield _family(
        GaugeMetricFamily,
        "objects",
        "Objects on the newest frame, by class; none while no frames come.",
        objects,
        "class",
    )
    numbers: tuple[tuple[Kind, str, str, float | None], ...] = (
        (GaugeMetricFamily, "inference_seconds_median", "Time in the network.", stats.inference_p50_s),
        (GaugeMetricFamily, "viewers", "Viewers of the page.", feed.pictures.count),
        (GaugeMetricFamily, "recording", "1 while recording.", view.controls.state.recording),
        (GaugeMetricFamily, "healthy", "1 while frames are presented.", monitor.health().ok),
        (
            CounterMetricFamily,
            "source_reconnects",
            "How often the source was lost and reconnected.",
            view.reconnects(),
        ),
    )
    for kind, name, text, value in numbers:
        if value is not None:
            yield _family(kind, name, text, {(): value})
    buckets = [(str(bound), float(n)) for bound, n in zip(BOUNDS_S, latency.counts_up_to, strict=True)]
    yield HistogramMetricFamily(
        f"{_PREFIX}latency_seconds",
        "From capture to presentation.",
        buckets=[*buckets, ("+Inf", float(latency.count))],
        sum_value=latency.total_s,
    )


def _family(kind: Kind, name: str, text: str, samples: Mapping[tuple[str, ...], float], *labels: str) -> Metric:
    """A metric whose samples are given by the values of its labels."""
    family = kind(_PREFIX + name, text, labels=labels)
    for values, number in samples.items():
        family.add_metric(values, float(number))
    return family


def _by_name(numbers: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): number for name, number in numbers.items()}
