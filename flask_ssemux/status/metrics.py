"""The status of all workers in Prometheus' format.

It is built for each scrape from the reports that the workers wrote to the broker, so every worker gives the same
answer. prometheus_client's own registry, which covers one process, is not used. There is a counter for each worker,
because a sum of all would fall when a worker ends, and Prometheus would take that for a restart. This needs
``prometheus-client``, and imports it at the first scrape.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple

from .totals import as_number

#: The answer if the package is missing.
MISSING = "/metrics needs the package prometheus-client: pip install 'flask_ssemux[metrics]'"


class _Metric(NamedTuple):
    """One of a worker's figures: its name here, its name in Prometheus, and its description. A counter only grows."""

    figure: str
    name: str
    about: str
    is_counter: bool = False


_OF_WORKERS = (
    _Metric("streams", "streams", "Open streams"),
    _Metric("handed_over", "streams_handed_over", "Open streams that need no greenlet"),
    _Metric("delivered", "delivered", "Events given to streams, counted once for each stream", True),
    _Metric("published", "published", "Events that this worker's application published", True),
    _Metric("publish_failed", "publish_failed", "Calls of this worker's application that published nothing", True),
    _Metric("recheck_failed", "recheck_failed", "Streams that could not be reauthorized (SSEMUX_RECHECK)", True),
    _Metric("refused", "refused", "Streams that were refused because a limit was reached", True),
    _Metric("queued", "queue_frames", "Frames that wait for slow clients"),
    _Metric("queued_bytes", "queue_bytes", "Bytes that wait for slow clients"),
    _Metric("deepest", "queue_deepest_frames", "Frames that wait for the slowest client"),
    _Metric("waiting", "broker_calls_waiting", "Calls that wait for the broker's store"),
    _Metric("waiting_openings", "openings_waiting", "Requests for streams that wait for their turn to be opened"),
    _Metric("opening_cost", "opening_cpu_seconds", "CPU time of opening one stream: the median of the latest"),
    _Metric("feeds_running", "feeds_running", "Feeds whose generator runs in this worker"),
    _Metric("feeds_paused", "feeds_paused", "Feeds that wait after an error, before their generator starts again"),
    _Metric("feeds_waiting", "feeds_waiting", "Feeds that no worker runs, since SSEMUX_MAX_FEEDS is reached here"),
    _Metric("feed_restarts", "feed_restarts", "How often generators of feeds started again after an error", True),
    _Metric("longest_silence", "longest_silence_seconds", "Longest time since the last byte of a stream"),
    _Metric("late", "late", "How often the worker's loop was blocked for a second or more", True),
    _Metric("longest_late", "longest_late_seconds", "Longest time that the worker's loop was blocked"),
    _Metric("runs", "runs", "Runs that are executed"),
    _Metric("runs_started", "runs_started", "Runs that were started or resumed", True),
    _Metric("runs_done", "runs_done", "Runs whose generator came to its end", True),
    _Metric("runs_failed", "runs_failed", "Runs whose generator raised an error", True),
    _Metric("runs_cancelled", "runs_cancelled", "Runs that were cancelled", True),
    _Metric("runs_lost", "runs_lost", "Runs that this worker gave up, or that were taken from it", True),
    _Metric("memory", "memory_bytes", "Memory of the process, shared pages included"),
    _Metric("started", "start_time_seconds", "When the process began, in Unix time"),
    _Metric("age", "report_age_seconds", "Seconds since the worker reported"),
)


def render_metrics(status: Mapping[str, Any], accepted: str) -> tuple[bytes, str]:
    """Return the metrics as text, and its content type.

    :param status: as ``totals.build_status`` returns it.
    :param accepted: the request's ``Accept`` header. It chooses between OpenMetrics and the plain text format.
    :raises ImportError: prometheus-client is not installed.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(status))
    encode, content_type = choose_encoder(accepted)
    return encode(registry), content_type


class _Collector:
    def __init__(self, status: Mapping[str, Any]) -> None:
        self._status = status

    def collect(self) -> Iterator[Any]:
        yield from _collect_totals(self._status)
        yield from _collect_workers(self._status["workers"])


def _collect_totals(status: Mapping[str, Any]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeHistogramMetricFamily, GaugeMetricFamily

    totals = status["totals"]
    yield GaugeMetricFamily("ssemux_broker_up", "Whether the broker can be reached", status["broker"]["is_reachable"])
    yield GaugeMetricFamily("ssemux_workers", "Workers that report", totals["workers"])
    yield GaugeMetricFamily("ssemux_users", "Different users with a stream, over all workers", totals["users"])
    yield GaugeMetricFamily("ssemux_channels", "Different named channels that are read", totals["channels"])
    if totals["events"] is not None:
        yield CounterMetricFamily("ssemux_events", "Sequence of the newest event in the history", totals["events"])
    yield GaugeHistogramMetricFamily(
        "ssemux_silence_seconds",
        "Time since the last byte of each open stream",
        _accumulate(status["silence_bounds"], totals["silence"]),
        totals["silence_sum"],
    )


def _collect_workers(workers: list[Mapping[str, Any]]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for figure, name, about, is_counter in _OF_WORKERS:
        kind = CounterMetricFamily if is_counter else GaugeMetricFamily
        family = kind("ssemux_" + name, about, labels=list(_LABELS))
        for worker in workers:
            if worker.get(figure) is not None:
                family.add_metric([str(worker.get(label, "")) for label in _LABELS.values()], as_number(worker[figure]))
        yield family


#: The labels of a worker, and the figures that they contain.
_LABELS = {"worker": "name", "host": "host"}


def _accumulate(bounds: list[float], counts: list[int]) -> list[tuple[str, int]]:
    """Return Prometheus' buckets. Each one includes the ones before it."""
    names = ["%.1f" % bound for bound in bounds] + ["+Inf"]
    return [(name, sum(counts[: index + 1])) for index, name in enumerate(names)]
