# The example application (legacy_app) under gunicorn, and a model for a container of your own. compose.yaml runs it with
# nginx and Redis. The image needs no capability and no root, and writes to /data and /tmp only.
FROM python:3.13-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /venv
COPY requirements/example.txt requirements/
RUN /venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements/example.txt
COPY setup.cfg pyproject.toml MANIFEST.in README.md CHANGELOG.md SECURITY.md LICENSE ./
COPY docs docs
COPY flask_ssemux flask_ssemux
RUN /venv/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --user-group --no-create-home app \
    && install --directory --owner app --group app /data
COPY --from=build /venv /venv
WORKDIR /app
COPY gunicorn.conf.py ./
COPY legacy_app legacy_app
# HOME is where gunicorn puts its control socket.
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
    FLASK_APP=legacy_app LEGACY_APP_INSTANCE=/data
USER 10001:10001
VOLUME /data
EXPOSE 8000
# gunicorn stops at TERM: it ends the streams, and waits up to 20 s for requests.
CMD ["gunicorn", "--config", "gunicorn.conf.py", "--bind", "0.0.0.0:8000", "legacy_app:create_app()"]
# The doctor opens streams as a browser does, and waits for a heartbeat: one check takes 21 s.
HEALTHCHECK --interval=60s --timeout=45s --start-period=60s --retries=2 \
    CMD ["flask", "ssemux", "doctor", "--timeout", "10", "http://127.0.0.1:8000/events"]
