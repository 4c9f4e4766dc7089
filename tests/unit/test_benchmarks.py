"""What the benchmarks make of their measurements: nothing is measured here, and no server is started."""

from __future__ import annotations

import json

import pytest

from benchmarks import compare, compare_report, document, event, scale, scale_report
from benchmarks.compare import Plan, Point, Result, Share
from benchmarks.trial import Delivered, Opened


@pytest.mark.parametrize("frame", [b"event: tick\ndata: %s", b"event:tick\ndata:%s\n", b'data:"%s"'])
def test_the_publisher_and_the_time_are_read_from_any_frame(frame):
    published, pid = event.read_origin(b'id: 7\ndata: "old" \n\n' + frame % event.make_data().encode())
    assert published > 0 and pid > 0


def test_a_frame_that_is_not_an_event_has_neither():
    assert event.read_origin(b": heartbeat\n\n") is None


def test_only_the_section_of_the_figures_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: it -->\nold\n<!-- end -->\nafter <!-- end -->\n")
    document.fill_figures(str(page), "it", r"| \1 | new |")
    assert page.read_text() == "before\n<!-- measured: it -->\n\n| \\1 | new |\n\n<!-- end -->\nafter <!-- end -->\n"


def test_a_page_without_a_section_for_figures_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no '<!-- measured: it -->'"):
        document.fill_figures(str(page), "it", "new")


def _point(cpu, clients=2000, came=10):
    return Point(clients, 130, Opened(900.0, 12.0), Delivered(cpu, 20.0, 40.0, came, 10, False, 0.2, 0.1))


def _result():
    ours, nchan, peer = [_point(10.0), _point(30.0)], [_point(20.0), _point(20.0)], [_point(40.0, came=9), None]
    return Result(
        Plan(rounds=2), "a machine", {"ours": "gunicorn", "nchan": "nginx"},
        {"ours": ours, "nchan": nchan, "peer": peer, "absent": []},
        {"ours": ours[:1], "nchan": nchan[1:], "peer": [None, None], "absent": []},
        {"ours": [_point(10.0, 500), _point(1234.0, 18000)], "nchan": [_point(20.0, 500)], "peer": [], "absent": []},
        {"ours": ours[:1], "nchan": nchan[:1], "peer": [], "absent": []},
        {"absent": ["missing: no such package"], "peer": ["9 of 10 streams opened"]}, [Share(4000.0, 0.1, 0.05)], 61.0,
    )  # fmt: skip


def test_the_comparison_shows_all_results_and_what_is_missing():
    lines = compare_report.make_tables(_result()).splitlines()
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:]] for line in lines[3:8]}
    assert cells["ours"][:2] == ["20.0 (10.0-30.0)", "1.00"]  # of 0.5 and 1.5, one a round
    assert cells["nchan"][:3] == ["20.0 (20.0-20.0)", "1.00", "-"]  # better-sse is missing
    assert cells["peer"][0] == "40.0" and cells["peer"][8] == "9 of 10"
    assert cells["absent"][0] == "**missing**, see below"
    heavy = lines[lines.index("### 2,000 connections, 10 events a second") :]
    row = next(line for line in heavy if line.startswith("| ours"))
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["10.0", "0.50"]
    assert any(line.startswith("| peer ") and set(line.split()[2:]) == {"|", "-"} for line in heavy)
    assert "* absent: missing: no such package" in lines
    assert "* peer: 9 of 10 streams opened" in lines
    assert "* peer: only 9 of 10 events were delivered" in lines
    assert any(line.split() == ["|", "ours", "|", "10", "|", "1,234", "|"] for line in lines)


def test_a_comparison_is_kept_and_read_back(tmp_path):
    path = tmp_path / "compare.json"
    compare.save_result(_result(), str(path))
    assert json.loads(path.read_text())["machine"] == "a machine"
    kept = compare.load_result(str(path))
    assert compare_report.make_tables(kept) == compare_report.make_tables(_result())


def test_the_error_of_a_server_is_shown():
    said = "x did not start: refused\nTraceback\nflask.errors.BadError: this\n[ERROR] Worker failed to boot."
    assert compare._shorten_reason(said) == "x did not start: refused ... flask.errors.BadError: this"


def test_an_event_for_all_workers_has_arrived_when_the_last_one_has_it():
    published, seen = [[1, 10.0, 0.001], [2, 11.0, 0.003]], [[[1, 10.002], [2, 11.004]], [[1, 10.008]]]
    found = scale.count_arrivals(published, seen, 4, store=0.0004, workers=0.002)
    assert (found.events, found.came, found.expected) == (2, 3, 4)
    assert found.last == pytest.approx(8.0) and found.store == pytest.approx(200.0)


def test_the_steps_of_a_store_are_kept_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(scale_report.install, "FOLDER", str(tmp_path))
    arrived = scale.count_arrivals([[1, 10.0, 0.001]], [[[1, 10.002]]], 1, 0.0001, 0.0001)
    step = scale.Step(10, 100_000, 5000.0, 70.0, 30.0, 0.01, 0.1, arrived, arrived, arrived, arrived, float("inf"))
    result = scale.Result("redis", 1.0, 4000.0, [step], 60.0, "a machine")
    scale_report.save_result(result)
    assert scale_report.load_results() == [result]
    text = scale_report.make_tables([result])
    assert "100,000" in text and "more than 60" in text and "| all " in text
