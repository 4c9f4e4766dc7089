"""Servers that are measured beside ours: each one a small application as its documentation shows it.

All stream channel ``bench`` at ``/events``, and answer ``GET /ready`` and ``GET /publish?events=&rate=&size=``, which
begins to publish, with their process's id as JSON. Heartbeats are every ten minutes where that can be said, so that
none falls into what is measured. Nothing of flask_ssemux but ``benchmarks.event``.
"""
