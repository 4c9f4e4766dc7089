"""The contract of reports and of registered applications."""

from __future__ import annotations

import subprocess
import sys

from flask_ssemux.brokers import REGISTRATION_SECONDS

REGISTER = """
import os, sys
from flask_ssemux.brokers import open_broker
open_broker(sys.argv[1]).reports.register_application("office", "")
os._exit(0)
"""


def names(others):
    return [(other.name, other.key, other.script_name) for other in others]


class ReportsSuite:
    """What every engine promises."""

    def test_the_last_report_of_a_process_is_returned(self, broker):
        assert broker.reports.read_reports() == []
        broker.reports.write_report({"streams": 1})
        broker.reports.write_report({"streams": 2, "host": "käfig\n", "more": [None, 1.5, {"a": "b c"}]})
        (report,) = broker.reports.read_reports()
        assert report.figures == {"streams": 2, "host": "käfig\n", "more": [None, 1.5, {"a": "b c"}]}
        assert 0 <= report.age < 5

    def test_a_report_that_is_not_replaced_expires(self, broker, travel):
        broker.reports.write_report({"streams": 1})
        travel(broker, 20)
        assert [round(report.age, -1) for report in broker.reports.read_reports()] == [20]
        travel(broker, 20)
        assert broker.reports.read_reports() == []
        broker.reports.write_report({"streams": 2})
        assert [report.figures for report in broker.reports.read_reports()] == [{"streams": 2}]


class SharedReportsSuite:
    """What engines promise that several processes share. Real processes."""

    def test_reports_of_a_process_that_died_or_closed_are_gone_at_once(self, make_shared, shared_url):
        script = "import sys; from flask_ssemux.brokers import open_broker; b = open_broker(sys.argv[1])\n"
        script += (
            "b.reports.write_report({'name': sys.argv[2]}); print('told', flush=True); sys.stdin.read(); b.close()"
        )
        command = [sys.executable, "-c", script, shared_url]
        others = [
            subprocess.Popen(command + [name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for name in ("closes", "is killed", "lives")
        ]
        assert [other.stdout.readline() for other in others] == ["told\n"] * 3
        broker = make_shared()
        broker.reports.write_report({"name": "ours"})

        def names():
            return sorted(report.figures["name"] for report in broker.reports.read_reports())

        assert names() == ["closes", "is killed", "lives", "ours"]
        assert len({report.process_name for report in broker.reports.read_reports()}) == 4
        others[0].communicate(timeout=10)
        others[1].kill()
        others[1].communicate(timeout=10)
        assert names() == ["lives", "ours"]
        others[2].communicate(timeout=10)
        assert names() == ["ours"]

    def test_processes_of_one_application_find_each_other(self, make_shared):
        first, second = make_shared(), make_shared()
        assert first.reports.register_application("shop", "a1b2c3") == []
        assert names(second.reports.register_application("shop", "")) == [("shop", "a1b2c3", "")]
        assert names(first.reports.register_application("shop", "d4e5f6")) == [("shop", "", "")]
        assert names(second.reports.register_application("shop", "")) == [("shop", "d4e5f6", "")]

    def test_the_first_application_stays_and_another_is_not_registered(self, make_shared):
        first, second = make_shared(), make_shared()
        first.reports.register_application("shop", "")
        for _ in range(2):
            assert names(second.reports.register_application("a shop\tof ümlauts", "")) == [("shop", "", "")]
            assert first.reports.register_application("shop", "") == []
        first.close()
        assert second.reports.register_application("office", "") == []

    def test_one_name_that_is_mounted_in_two_places_is_two_applications(self, make_shared):
        first, second, anywhere = make_shared(), make_shared(), make_shared()
        assert first.reports.register_application("app", "", "/shop") == []
        assert names(anywhere.reports.register_application("app", "")) == [("app", "", "/shop")]
        assert sorted(names(second.reports.register_application("app", "", "/office"))) == [
            ("app", "", ""),
            ("app", "", "/shop"),
        ]
        assert names(first.reports.register_application("app", "", "/shop")) == [("app", "", "")]

    def test_one_application_may_be_imported_by_two_names(self, make_shared):
        first, second, third = make_shared(), make_shared(), make_shared()
        first.reports.register_application("services.shop", "")
        second.reports.register_application("shop", "")
        assert names(second.reports.register_application("shop", "")) == [("services.shop", "", "")]
        third.reports.register_application("workshop", "")
        assert names(first.reports.register_application("services.shop", "")) == [("shop", "", "")]

    def test_a_registration_that_is_not_renewed_ends(self, make_shared, travel):
        first, second = make_shared(), make_shared()
        first.reports.register_application("shop", "")
        travel(first, REGISTRATION_SECONDS - 5)
        assert names(second.reports.register_application("office", "")) == [("shop", "", "")]
        travel(first, 10)
        assert second.reports.register_application("office", "") == []

    def test_a_dead_process_does_not_keep_its_registration(self, make_shared, shared_url):
        subprocess.run([sys.executable, "-c", REGISTER, shared_url], check=True)
        broker = make_shared()
        assert broker.reports.register_application("shop", "") == []
        assert make_shared().reports.register_application("shop", "")
