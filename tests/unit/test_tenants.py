"""docs/applications.md: its endpoints are those that exist, and its application keeps its tenants apart."""

from __future__ import annotations

import re

import flask
import pytest

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.testing import stream
from tests.harness.document import block
from tests.harness.servers import ROOT


@pytest.fixture
def tenants(tmp_path):
    """The names of the page's module."""
    source = block("applications.md", "python", "# tenants.py").replace(
        "Flask(__name__, ", "Flask('tenants', instance_path=%r, " % str(tmp_path)
    )
    names = {"__name__": "tenants"}
    exec(compile(source, "tenants.py", "exec"), names)
    names["app"].testing = True
    yield names
    testing.close(names["app"])


def find_user(names, host):
    """Return who the user 7 is for the application, at this host."""
    app = names["app"]
    with app.test_request_context("/", headers={"Host": host}):
        flask.session["user_id"] = 7
        app.preprocess_request()
        return names["who"]()


def open_stream(names, tenant, *channels):
    host = tenant + ".shop.test"
    return stream(names["app"], channels=channels, user=find_user(names, host), headers={"Host": host})


def test_what_is_for_one_tenant_does_not_reach_another(tenants):
    acme = open_stream(tenants, "acme", "acme:everyone")
    bolt = open_stream(tenants, "bolt", "bolt:everyone")
    with acme, bolt:
        with tenants["app"].app_context():
            for tenant in ("acme", "bolt"):
                tenants["notify"](tenant, 7, "for %s" % tenant)
        assert [acme.next().data, acme.next().data] == ["for acme"] * 2
        assert [bolt.next().data, bolt.next().data] == ["for bolt"] * 2
    for channel, status in (("acme:jobs:1", 200), ("bolt:jobs:1", 403)):
        with open_stream(tenants, "acme", channel) as asked:
            assert asked.status == status


def test_the_page_names_all_endpoints(make_app):
    page = (ROOT / "docs" / "applications.md").read_text(encoding="utf-8")
    mux = flask_ssemux.SSEMux()
    mux.allow_status(lambda: True)
    for url in ("/api/jobs/stream", "/jobs/<job_id>/stream"):
        mux.add_stream(url, ["jobs"], public=True)
    app = make_app(mux)
    table = page.partition("| endpoint |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(ssemux[\w.]+)`", table)) | set(re.findall(r'url_for\("(\w+)"', table))
    files = {name for name in app.view_functions if name.endswith(("_js", "_css"))}
    assert named - {"ssemux_"} == set(app.view_functions) - files - {"static"}
    with app.test_request_context():
        assert flask.url_for("ssemux.client") == "/events/ssemux.js"
        assert flask.url_for("ssemux_status_json") == "/events/status.json"
        assert flask.url_for("ssemux_jobs_job_id_stream", job_id=42) == "/jobs/42/stream"
