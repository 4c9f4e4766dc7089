"""Tests of flask_ssemux: a package, so that `tests.harness` and `tests.apps` can be imported."""
