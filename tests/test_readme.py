"""The README's promises: its quickstart runs, its options are the options, its files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flask_ssemux import options
from tests.harness.client import RawStream
from tests.harness.servers import Gunicorn
from tests.server.conftest import Site

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows():
    return ["| `%s` | %s | %s |" % row for row in options.table()]


def test_the_options_table_is_the_options():
    table = README[README.index("| option | default | |") :].splitlines()
    assert table[2 : 2 + len(rows())] == rows()
    assert table[2 + len(rows())] == ""


def test_the_quickstart_runs(tmp_path, running, instance_env):
    source = re.search(r"```python\n(# shop\.py\n.*?)```", README, re.S).group(1)
    (tmp_path / "shop.py").write_text(source, encoding="utf-8")
    arguments = re.search(r"gunicorn (-k gevent -w 2) (shop:app)", README)
    assert arguments
    env = {"PYTHONPATH": "%s:%s" % (tmp_path, ROOT)}
    site = Site(running(Gunicorn("shop:app", workers=2, env=env, cwd=tmp_path)))
    with RawStream(site.port, "/events?channel=news") as stream:
        stream.wait_for(b"ssemux.hello", 3)
        with RawStream(site.port, "/sell") as page:
            page.wait_for(b"sold", 3)
        sale = stream.wait_events(2, 3)[1]
        assert (sale.event, sale.data) == ("sale", '{"sold":1}')


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:docs|legacy_app|deploy)/[\w./-]*)`", README))))
def test_what_it_points_to_exists(path):
    assert (ROOT / path).exists()
