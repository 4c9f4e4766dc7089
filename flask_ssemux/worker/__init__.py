"""What lives as long as the worker process: its parts, admission, timer, watchdog, drain and gunicorn's hooks.

Whether there is room for one more stream is decided here. No event is encoded, stored or delivered here.
"""
