"""deploy/prometheus-alerts.yml and deploy/grafana-dashboard.json: in promtool, and in a Prometheus that scrapes.

Grafana itself is in no package of Debian: the dashboard is read as JSON, and its queries run in Prometheus.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from itertools import combinations

import pytest
import yaml

from tests.harness.packages import need
from tests.harness.servers import ROOT, Server
from tests.harness.waiting import until
from tests.unit.test_metrics import FIRST, make_status, metrics, samples

ALERTS = ROOT / "deploy" / "prometheus-alerts.yml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]

WORKER = '{job="shop", host="a", worker="1"}'
#: By alert: a series with which it fires, as promtool writes series: start, step and count, one value a minute.
ILL = {
    "SsemuxBrokerAway": 'ssemux_broker_up{job="shop"} 0x30',
    "SsemuxNotScraped": "",
    "SsemuxStreamsSilent": "ssemux_longest_silence_seconds%s 46x30" % WORKER,
    "SsemuxLoopBlocked": "ssemux_late_total%s 0+1x30" % WORKER,
    "SsemuxReportsOld": "ssemux_report_age_seconds%s 16x30" % WORKER,
    "SsemuxStreamsRefused": "ssemux_refused_total%s 0+5x30" % WORKER,
    "SsemuxClientsSlow": "ssemux_queue_deepest_frames%s 801x30" % WORKER,
    "SsemuxBrokerSlow": "ssemux_broker_calls_waiting%s 101x30" % WORKER,
    "SsemuxOpeningsWait": "ssemux_openings_waiting%s 1001x30" % WORKER,
    "SsemuxRecheckFails": "ssemux_recheck_failed_total%s 0+1x30" % WORKER,
    "SsemuxFeedsFail": "ssemux_feed_restarts_total%s 0+1x30" % WORKER,
    "SsemuxFeedsWait": "ssemux_feeds_waiting%s 1x30" % WORKER,
    "SsemuxRunsLost": "ssemux_runs_lost_total%s 0+1x30" % WORKER,
}
HEALTHY = {
    'ssemux_broker_up{job="shop"}': "1x30",
    'ssemux_workers{job="shop"}': "2x30",
    "ssemux_longest_silence_seconds" + WORKER: "20.2x30",
    "ssemux_late_total" + WORKER: "1x30",
    "ssemux_report_age_seconds" + WORKER: "5x30",
    "ssemux_refused_total" + WORKER: "7x30",
    "ssemux_queue_deepest_frames" + WORKER: "12x30",
    "ssemux_broker_calls_waiting" + WORKER: "3x30",
    "ssemux_openings_waiting" + WORKER: "0x30",
    "ssemux_recheck_failed_total" + WORKER: "2x30",
    "ssemux_feed_restarts_total" + WORKER: "3x30",
    "ssemux_feeds_waiting" + WORKER: "0x30",
    "ssemux_runs_lost_total" + WORKER: "4x30",
}


def find_metrics(expression: str) -> set[str]:
    return set(re.findall(r"\bssemux_[a-z_]+", expression))


def test_the_metrics_that_they_name_exist():
    every = {metric.figure: 1 for metric in metrics._OF_WORKERS}
    made = {name for name, _ in samples(make_status({**every, **FIRST}))}
    shown = {name for query in QUERIES for name in find_metrics(query)}
    alerted = {name for rule in RULES for name in find_metrics(rule["expr"])}
    assert shown | alerted <= made
    assert made - shown <= {"ssemux_silence_seconds_gcount", "ssemux_silence_seconds_gsum"}


# -- alerts --------------------------------------------------------------------


def test_promtool_accepts_the_rules_and_each_fires_for_what_it_is_for_only(tmp_path):
    assert set(ILL) == {rule["alert"] for rule in RULES}
    tests = [make_case(name) for name in [None, *ILL]]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": tests}))
    run_promtool("check", "rules", ALERTS)
    run_promtool("test", "rules", tmp_path / "tests.yml")


def make_case(ill: str | None) -> dict:
    """Return a test of promtool: with one ill series among healthy ones, only its alert fires after 30 min."""
    series = dict(HEALTHY)
    if ill == "SsemuxNotScraped":
        del series['ssemux_workers{job="shop"}']
    elif ill:
        name, _, values = ILL[ill].rpartition(" ")
        assert name in series
        series[name] = values
    expected = [{"eval_time": "30m", "alertname": name, "exp_alerts": []} for name in ILL if name != ill]
    listed = [{"series": name, "values": values} for name, values in series.items()]
    return {
        "name": ill or "healthy",
        "interval": "1m",
        "input_series": listed,
        "alert_rule_test": expected,
        "promql_expr_test": [count_alerts(ill)] if ill else [],
    }


def count_alerts(name: str) -> dict:
    expression = 'count(ALERTS{alertname="%s", alertstate="firing"})' % name
    return {"expr": expression, "eval_time": "30m", "exp_samples": [{"labels": "{}", "value": 1}]}


def run_promtool(*arguments: object) -> None:
    command = [need("prometheus", "promtool"), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule):
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    pages = re.findall(r"docs/[\w-]+\.md", rule["annotations"]["description"])
    assert all((ROOT / page).exists() for page in pages)


# -- dashboard -----------------------------------------------------------------


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        assert any(
            one[start] >= other[start] + other[size] or other[start] >= one[start] + one[size]
            for start, size in (("x", "w"), ("y", "h"))
        ), (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in DASHBOARD["panels"])


def test_the_data_source_is_chosen_by_whoever_looks():
    parts = [*PANELS, *(target for panel in PANELS for target in panel["targets"])]
    assert all(part["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for part in parts)
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "job", "host"}


class Prometheus(Server):
    """A Prometheus that scrapes one server twice a second, with the rules of deploy/."""

    name = "prometheus"

    def __init__(self, target: int, folder) -> None:
        self.program = need("prometheus", "prometheus")
        super().__init__(cwd=folder)
        scraped = {"job_name": "shop", "metrics_path": "/events/metrics", "scrape_interval": "500ms"}
        scraped.update(scrape_timeout="500ms", static_configs=[{"targets": ["127.0.0.1:%d" % target]}])
        config = {"rule_files": [str(ALERTS)], "scrape_configs": [scraped]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def command(self) -> list[str]:
        listen = "--web.listen-address=127.0.0.1:%d" % self.port
        return [self.program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", listen]

    def ready(self) -> bool:
        try:
            return urllib.request.urlopen(self.url + "/-/ready", timeout=5).status == 200
        except OSError:
            return False

    def ask(self, path: str, **parameters: str) -> dict:
        """Return the data of an answer of its API."""
        url = "%s/api/v1/%s?%s" % (self.url, path, urllib.parse.urlencode(parameters))
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]


def test_each_query_has_an_answer_in_prometheus(serve, running, tmp_path):
    site = serve("tests.apps.watched:create_app()")
    prometheus = running(Prometheus(site.port, tmp_path))
    with site.stream("/events?channel=room:1", {"X-User": "ada"}) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        site.publish("room:1", "event")
        unserved = {query for query in QUERIES if re.search("ssemux_(run|feed)", query)}
        unanswered = set(QUERIES) - unserved
        until(lambda: remove_answered(unanswered, prometheus), 20, lambda: "no answer to %s" % unanswered)
    # A worker without feeds and runs reports none. Prometheus answers with an error what it cannot read.
    remove_answered(unserved, prometheus)
    (group,) = prometheus.ask("rules")["groups"]
    assert {rule["name"] for rule in group["rules"]} == set(ILL)


def remove_answered(queries: set[str], prometheus: Prometheus) -> bool:
    """Remove the queries that have an answer now; return whether all have had one."""
    queries -= {query for query in queries if prometheus.ask("query", query=fill_in(query))["result"]}
    return not queries


def fill_in(query: str) -> str:
    """Replace the dashboard's variables."""
    for word, value in {"$job": "shop", "$host": ".*", "$__rate_interval": "5s"}.items():
        query = query.replace(word, value)
    return query
