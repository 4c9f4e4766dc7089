"""How a stream's frames get onto the client's socket: by a generator, by handoff, or as the answer of a long poll.

A transport knows streams and sockets. It knows no channels, no brokers and no rules.
"""
