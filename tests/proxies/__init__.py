"""Real proxies from Debian's packages in front of a real gunicorn: with a minimal configuration, and with the samples
of deploy/.
"""
