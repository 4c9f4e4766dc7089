"""Variables of the environment that only cause a warning, and modules that are not imported before gevent has
patched.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from flask_ssemux.errors import ConfigurationError
from flask_ssemux.options import Options


def test_a_typo_in_the_environment_causes_a_warning_and_one_in_the_configuration_an_error(caplog):
    assert Options.resolve({}, {"SSEMUX_HEARBEAT": "5"}).heartbeat == 20.0
    message = "there is no such option; did you mean SSEMUX_HEARTBEAT?"
    assert caplog.messages == ["the environment has SSEMUX_HEARBEAT, and " + message]
    with pytest.raises(ConfigurationError) as refused:
        Options.resolve({"SSEMUX_HEARBEAT": 5}, {})
    assert str(refused.value) == "there is no option SSEMUX_HEARBEAT; did you mean SSEMUX_HEARTBEAT?"


def test_gunicorns_settings_are_read_before_anything_imports_ssl():
    """redis-py imports it: under gevent a broker's TLS would be patched too late."""
    script = "import sys, flask_ssemux.gunicorn_conf; assert 'redis' not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "error::Warning:gevent", "-c", script], capture_output=True, text=True)
    assert (done.returncode, "MonkeyPatchWarning" in done.stderr) == (0, False), done.stderr
