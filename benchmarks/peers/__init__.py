"""The peers: servers that are compared with flask_ssemux. Each is a small application as its documentation shows.

All stream the channel ``bench`` at ``/events``. They answer ``GET /ready`` and ``GET /publish?events=&rate=&size=``,
which starts to publish, with their process id as JSON. Heartbeats are sent every ten minutes if that can be
configured, so that none is sent during a measurement. Of this project they use only ``benchmarks.event``.
"""
