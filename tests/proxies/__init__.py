"""Real proxies of Debian's packages in front of a real gunicorn: bare, and with the samples of deploy/."""
