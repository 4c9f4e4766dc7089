"""The status of all workers as Prometheus reads it.

Made anew for each scrape from what the workers told the broker: whichever worker is asked says the same, and
prometheus_client's own registry, which knows one process, has no part in it. Counters are each worker's, since a sum
would fall when a worker goes, and be taken for a restart of all. Needs ``prometheus-client``, and imports it
when asked.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple

from .totals import number

#: Where the package is missing.
MISSING = "Prometheus' text needs the package prometheus-client: pip install 'flask_ssemux[metrics]'"


class _Metric(NamedTuple):
    """One of a worker's figures: its name here, there, and in words. What only grows is a counter."""

    figure: str
    name: str
    about: str
    is_counter: bool = False


_OF_WORKERS = (
    _Metric("streams", "streams", "Open streams"),
    _Metric("handed_over", "streams_handed_over", "Open streams that take no greenlet"),
    _Metric("delivered", "delivered", "Events given to streams, one for each stream", True),
    _Metric("published", "published", "Events that this worker's application published", True),
    _Metric("recheck_failed", "recheck_failed", "Streams that could not be asked again (SSEMUX_RECHECK)", True),
    _Metric("refused", "refused", "Streams that were sent away because a limit was reached", True),
    _Metric("queued", "queue_frames", "Frames that wait for slow clients"),
    _Metric("queued_bytes", "queue_bytes", "Bytes that wait for slow clients"),
    _Metric("deepest", "queue_deepest_frames", "Frames that wait for the slowest client"),
    _Metric("waiting", "broker_calls_waiting", "Calls that wait for the broker's store"),
    _Metric("longest_silence", "longest_silence_seconds", "Longest time since the last byte of a stream"),
    _Metric("late", "late", "How often the worker's loop was blocked for a second or more", True),
    _Metric("longest_late", "longest_late_seconds", "For how long at most"),
    _Metric("memory", "memory_bytes", "Memory of the process, shared pages included"),
    _Metric("started", "start_time_seconds", "When the process began, in Unix time"),
    _Metric("age", "report_age_seconds", "Seconds since the worker reported"),
)


def text(told: Mapping[str, Any], accepted: str) -> tuple[bytes, str]:
    """The exposition and its content type.

    :param told: as ``status.whole`` has it.
    :param accepted: the request's ``Accept``: OpenMetrics, or the plain text format.
    :raises ImportError: prometheus-client is not installed.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(told))
    encode, content_type = choose_encoder(accepted)
    return encode(registry), content_type


class _Collector:
    def __init__(self, told: Mapping[str, Any]) -> None:
        self._told = told

    def collect(self) -> Iterator[Any]:
        yield from _of_all(self._told)
        yield from _of_each(self._told["workers"])


def _of_all(told: Mapping[str, Any]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeHistogramMetricFamily, GaugeMetricFamily

    totals = told["totals"]
    yield GaugeMetricFamily("ssemux_broker_up", "Whether the broker can be reached", told["broker"]["is_reachable"])
    yield GaugeMetricFamily("ssemux_workers", "Workers that report", totals["workers"])
    yield GaugeMetricFamily("ssemux_users", "Different users with a stream, over all workers", totals["users"])
    yield GaugeMetricFamily("ssemux_channels", "Different named channels that are read", totals["channels"])
    if totals["events"] is not None:
        yield CounterMetricFamily("ssemux_events", "Events of this history, whoever published them", totals["events"])
    yield GaugeHistogramMetricFamily(
        "ssemux_silence_seconds",
        "Time since the last byte of each open stream",
        _cumulative(told["silence_bounds"], totals["silence"]),
        totals["silence_sum"],
    )


def _of_each(workers: list[Mapping[str, Any]]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for figure, name, about, is_counter in _OF_WORKERS:
        kind = CounterMetricFamily if is_counter else GaugeMetricFamily
        family = kind("ssemux_" + name, about, labels=list(_LABELS))
        for worker in workers:
            if worker.get(figure) is not None:
                family.add_metric([str(worker.get(label, "")) for label in _LABELS.values()], number(worker[figure]))
        yield family


#: Labels of a worker, and the figures that they say.
_LABELS = {"worker": "name", "host": "host"}


def _cumulative(bounds: list[float], counts: list[int]) -> list[tuple[str, int]]:
    """Prometheus' buckets, of which each holds those before it too."""
    names = ["%.1f" % bound for bound in bounds] + ["+Inf"]
    return [(name, sum(counts[: index + 1])) for index, name in enumerate(names)]
