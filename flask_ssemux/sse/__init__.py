"""The format: events become frames here, and what a client sends as a cursor is read here.

No input or output, no clock, no Flask and no gevent: text goes in, bytes come out.
"""
