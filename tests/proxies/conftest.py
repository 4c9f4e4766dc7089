"""The fleet of proxies and their certificate."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack

import pytest

from tests.harness.packages import need
from tests.harness.servers import Gunicorn
from tests.proxies import document
from tests.proxies.fleet import Fleet
from tests.proxies.proxy import HEARTBEAT, NAME
from tests.server.conftest import Site


@pytest.fixture(scope="session")
def pem(tmp_path_factory):
    """A certificate with its key, in one file, for the name in the samples."""
    folder = tmp_path_factory.mktemp("certificate")
    folder.chmod(0o755)
    key, certificate, both = (folder / name for name in ("key", "certificate", "both.pem"))
    subprocess.run(
        [need("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-days", "1", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    both.write_text(certificate.read_text() + key.read_text())
    return both


@pytest.fixture(scope="module")
def fleet(request, pem, tmp_path_factory):
    """Every proxy of the table in front of one gunicorn; with `--write-docs`, what the tests measure is written to the
    document.
    """
    env = {
        "INSTANCE_PATH": str(tmp_path_factory.mktemp("instance")),
        "SSEMUX_HEARTBEAT": f"{HEARTBEAT:g}",
        "SSEMUX_CLIENT_TIMEOUT": "12",
        "FIRST_EVENT_AFTER": "1",
    }
    with ExitStack() as stack:
        server = stack.enter_context(
            Gunicorn("tests.apps.hops:create_app()", config="gunicorn.conf.py", workers=1, env=env)
        )
        fleet = stack.enter_context(Fleet(Site(server), pem))
        yield fleet
        if request.config.getoption("--write-docs"):
            document.write(fleet.seen)


@pytest.fixture
def hop(fleet, request):
    """One proxy of the fleet; the test is skipped, or fails in CI, if its package is missing."""
    return fleet[request.param]


def pytest_generate_tests(metafunc):
    if "hop" in metafunc.fixturenames:
        from tests.proxies.fleet import SETUPS

        metafunc.parametrize("hop", SETUPS, ids=str, indirect=True)
