-- The tables. Read at every start: each statement must be harmless when repeated.

CREATE TABLE IF NOT EXISTS jobs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL,               -- the file's name as the visitor called it: hostile input
    kind        TEXT    NOT NULL,               -- csv, text
    size        INTEGER NOT NULL,               -- bytes
    path        TEXT    NOT NULL,               -- where the upload lies until the job has ended
    user_id     INTEGER,                        -- who gets the notice at the end; NULL: a visitor
    user_name   TEXT,
    process     TEXT    NOT NULL,               -- who runs it, see process.py
    state       TEXT    NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'running', 'done', 'failed')),
    lines       INTEGER NOT NULL,               -- of the file
    done        INTEGER NOT NULL DEFAULT 0,     -- lines of them that were checked
    rows        INTEGER NOT NULL DEFAULT 0,     -- CSV: records below the header; text: lines
    problems    INTEGER NOT NULL DEFAULT 0,
    notes       TEXT    NOT NULL DEFAULT '[]',  -- the first problems in words, a JSON list
    message     TEXT,                           -- the outcome in words, once there is one
    revision    INTEGER NOT NULL DEFAULT 1,     -- grows with each change: tells newer from older
    created_at  TEXT    NOT NULL,
    finished_at TEXT
);

CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state);
