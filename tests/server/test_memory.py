"""What a worker keeps for each stream by the generator, under `gunicorn -k gevent` without our `gunicorn_conf`.

The memory itself is measured by the benchmarks; here are the objects that it consists of.
"""

from __future__ import annotations

from tests.harness.servers import ROOT

APP = "tests.apps.kept:create_app()"


def test_streams_keep_no_variables_of_gunicorn_and_share_what_is_the_same_for_all(serve, tmp_path):
    # The folder of the tests has a gunicorn.conf.py.
    site = serve(APP, transport="generator", cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    with site.stream() as first:
        first.wait_for(b"ssemux.hello", 5)
    site.wait_figure("streams", 0, 5)
    with site.stream() as one, site.stream() as two, site.stream() as three:
        for stream in (one, two, three):
            stream.wait_for(b"ssemux.hello", 5)
        kept = site.get("/kept")
    assert kept["tree"] is False
    assert kept["variables"] == 0
    assert kept["errors"] <= 3  # the streams' one, an earlier stream's, and the one of this request


def test_the_variable_of_gevent_wins(serve):
    site = serve(APP, transport="generator", env={"GEVENT_TRACK_GREENLET_TREE": "1"})
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 5)
        assert site.get("/kept")["tree"] is True


def test_what_a_stream_writes_to_the_server_s_log_arrives(serve):
    """The streams share the object that writes it."""
    site = serve(APP, transport="generator")
    for _ in range(2):
        with site.stream("/events?note=1") as stream:
            stream.wait_for(b"ssemux.hello", 5)
    assert site.server.log.count("a note of a stream") == 2
