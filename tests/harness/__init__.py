"""What the tests against real servers stand on: servers, raw clients and an independent parser.

Nothing in here imports flask_ssemux: what checks the library must not lean on it.
"""
