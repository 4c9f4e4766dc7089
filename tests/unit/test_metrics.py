"""The text for Prometheus, read by prometheus_client's own parsers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flask_ssemux.brokers import WorkerReport
from flask_ssemux.options import Options
from flask_ssemux.status import metrics
from flask_ssemux.status import totals as status
from flask_ssemux.worker import distinct
from flask_ssemux.worker.stream_stats import BOUNDS

pytest.importorskip("prometheus_client")

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

#: Two workers of one host with one process id: two applications in a process, or two containers.
FIRST = {
    "name": "7-abc", "pid": 7, "host": 'we"ird\n', "streams": 3, "delivered": 50, "published": 4,
    "refused": {"user": 2},
    "silence": [2, 1] + [0] * (len(BOUNDS) - 1), "silence_sum": 2.5, "memory": 1000, "started": 1.5e9,
    "sketches": {"users": distinct.make_sketch(["a", "b"]), "channels": distinct.make_sketch(["x"])},
}  # fmt: skip
SECOND = {**FIRST, "name": "7-def", "streams": 4, "memory": None}


def make_status(*figures, **broker):
    reports = [WorkerReport("x%d" % number, 1.5, each) for number, each in enumerate(figures)]
    return status.build_status(reports, {"is_reachable": True, "cursor": "abcd-9", **broker}, Options(), past=False)


def samples(what, accepted=""):
    """Return the samples as a dictionary from (name, labels) to value."""
    if accepted:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed
    else:
        from prometheus_client.parser import text_string_to_metric_families as parsed
    text, _ = metrics.render_metrics(what, accepted)
    found = [sample for family in parsed(text.decode()) for sample in family.samples]
    made = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(made) == len(found), "a series appears twice"
    return made


def of(name, **labels):
    return name, frozenset(labels.items())


@pytest.mark.parametrize("accepted", ["", OPENMETRICS])
def test_each_worker_is_a_series(accepted):
    made = samples(make_status(FIRST, SECOND), accepted)
    first, second = {"worker": "7-abc", "host": 'we"ird\n'}, {"worker": "7-def", "host": 'we"ird\n'}
    assert (made[of("ssemux_streams", **first)], made[of("ssemux_streams", **second)]) == (3, 4)
    assert made[of("ssemux_delivered_total", **first)] == 50
    assert made[of("ssemux_refused_total", **first)] == 2
    assert made[of("ssemux_report_age_seconds", **first)] == 1.5
    assert of("ssemux_memory_bytes", **first) in made and of("ssemux_memory_bytes", **second) not in made


@pytest.mark.parametrize("accepted", ["", OPENMETRICS])
def test_figures_that_cannot_be_added_appear_once(accepted):
    made = samples(make_status(FIRST, SECOND), accepted)
    assert (made[of("ssemux_workers")], made[of("ssemux_users")], made[of("ssemux_channels")]) == (2, 2, 1)
    assert (made[of("ssemux_events_total")], made[of("ssemux_broker_up")]) == (9, 1)
    silence = [value for (name, _), value in made.items() if name == "ssemux_silence_seconds_bucket"]
    assert silence == [4] + [6] * len(BOUNDS)
    assert made[of("ssemux_silence_seconds_bucket", le="1.0")] == 4
    assert made[of("ssemux_silence_seconds_bucket", le="+Inf")] == made[of("ssemux_silence_seconds_gcount")] == 6
    assert made[of("ssemux_silence_seconds_gsum")] == 5.0


@pytest.mark.parametrize("accepted", ["", OPENMETRICS])
def test_without_a_broker(accepted):
    what = status.build_status(
        [WorkerReport("x", 0.0, FIRST)], {"is_reachable": False, "trouble": "away"}, Options(), past=False
    )
    made = samples(what, accepted)
    assert made[of("ssemux_broker_up")] == 0
    assert of("ssemux_events_total") not in made


def test_the_content_type_is_the_requested_one():
    assert metrics.render_metrics(make_status(FIRST), "")[1].startswith("text/plain; version=0.0.4")
    assert metrics.render_metrics(make_status(FIRST), OPENMETRICS)[1].startswith(
        "application/openmetrics-text; version="
    )
    assert metrics.render_metrics(make_status(FIRST), OPENMETRICS)[0].endswith(b"# EOF\n")


def test_the_docs_name_them_all():
    docs = (Path(__file__).resolve().parents[2] / "docs" / "status.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bssemux_[a-z_]+", docs))
    every = {metric.figure: 1 for metric in metrics._OF_WORKERS}
    made = {name for name, _ in samples(make_status({**every, **FIRST}))}
    assert named == made - {"ssemux_silence_seconds_gcount", "ssemux_silence_seconds_gsum"}
