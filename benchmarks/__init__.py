"""Measures what flask_ssemux costs. ``python -m benchmarks --help``; how, and figures, in README.md.

Not tests: nothing here fails because a machine is slow.
"""
