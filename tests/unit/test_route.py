"""The way from a request to its stream stays short: changes of file and files are counted, and no time is measured.

``python -m benchmarks route`` lists each change of file.
"""

from __future__ import annotations

import pytest

from benchmarks.route import record_route

#: By broker: the changes of file, and the files.
MOST = {"memory:": (50, 36), "sqlite:": (57, 41)}


@pytest.mark.parametrize("broker", MOST)
def test_the_way_from_a_request_to_its_stream_does_not_grow(broker):
    route = record_route(broker)
    changes, files = MOST[broker]
    hops = "\n".join("%s -> %s" % hop for hop in route.hops)
    assert len(route.hops) <= changes, hops
    assert len(route.files) <= files, "\n".join(route.files)
