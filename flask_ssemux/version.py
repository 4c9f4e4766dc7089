"""The version of the package. Every module may import it; it imports nothing."""

__version__ = "1.0.0rc1"
