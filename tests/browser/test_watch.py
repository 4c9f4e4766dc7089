"""The page's loop of docs/identity.md in Chromium, with shorter waits: native EventSource, a ticket for each stream."""

from __future__ import annotations

from flask_ssemux import Publisher
from tests.browser.driver import Browser
from tests.harness.document import block, modules
from tests.harness.other_servers import need_python
from tests.harness.servers import ROOT, Gunicorn

#: An addition to the document's application: a page with the loop. Its first ticket fails, as during a deploy.
PAGE = '''from flask import Response

from tokens import app

HTML = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script type="module">
const tell = (what, more) => window.report({ who: "page", what, at: Date.now() / 1000, ...more });
const login = await fetch("/login", { method: "POST", body: new URLSearchParams({ name: "ann" }) });
const headers = { Authorization: `Bearer ${(await login.json()).token}` };
window.EventSource = class extends EventSource {
  constructor(...all) {
    super(...all);
    this.addEventListener("ssemux.hello", () => tell("hello"));
  }
};
const show = (data) => tell("event", { data });
let asked = 0;
async function newTicket() {
  tell("ticket", { number: ++asked });
  if (asked === 1) throw new TypeError("Failed to fetch");
  return (await (await fetch("/ticket", { method: "POST", headers })).json()).ticket;
}
LOOP
watch();
</script>
"""


@app.route("/")
def page():
    return Response(HTML, content_type="text/html; charset=utf-8")
'''


def test_the_documents_loop_survives_a_deploy_and_misses_nothing(tmp_path, running):
    need_python("flask_jwt_extended")
    modules("identity.md", tmp_path)
    loop = block("identity.md", "js", "async function watch")
    (tmp_path / "page.py").write_text(PAGE.replace("LOOP", loop.replace("3000", "300")))
    env = {"PYTHONPATH": "%s:%s" % (tmp_path, ROOT), "SSEMUX_RETRY": "200"}
    server = running(Gunicorn("page:app", env=env, cwd=tmp_path))
    publisher = running(Publisher("sqlite:///%s" % (tmp_path / "instance" / "ssemux.sqlite3")))
    browser = running(Browser(server.url, 60))

    browser.wait_all("page", "hello", timeout=20)
    assert not browser.all("page", "event")
    server.stop()
    publisher.publish("orders:ann", "one", event="placed")  # before its first event, and while no client is connected
    server.start()
    browser.wait_all("page", "event", 1, timeout=20)
    publisher.publish("orders:ann", "two", event="placed")
    browser.wait_all("page", "event", 2, timeout=10)

    assert [entry["data"] for entry in browser.all("page", "event")] == ["one", "two"]
    assert len(browser.all("page", "ticket")) == 3
