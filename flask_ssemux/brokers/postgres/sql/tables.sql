-- The tables of the PostgreSQL broker. {schema} is the schema, quoted.
--
-- An event is in the history as long as its sequence is greater than three floors: its channel's; the one that follows
-- from the bytes of all events; and the one that follows from their age, which is searched for. The first two stand in
-- the newest event of the channel, and in the newest event of all: an append only inserts, and changes no row that every
-- append changes. Such a row would grow slow while a long transaction, such as a dump, keeps its old versions.
--
-- A holder is a process, by its broker's process_name. Times are those of the server's clock.

-- If somebody made it for this role, the role need not have the right to make schemas.
DO $do$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = {channel}) THEN
        CREATE SCHEMA {schema};
    END IF;
END $do$;

-- One row, which few transactions change. epoch: of the history; born: the sequence at which it began; place: which
-- database this is (see find_place in life.sql); started: when the server did; risk: what the commits so far can lose, 2: a
-- crash takes the last ones, 1: a failover may, 0: nothing does; forgotten: the floor of each channel that has neither
-- events nor a row in channels; seconds, events, size: the limits that the application wrote last; compatible: the oldest
-- version of flask_ssemux's tables whose programs may use these tables.
CREATE TABLE {schema}.state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    compatible integer NOT NULL,
    epoch text NOT NULL,
    born bigint NOT NULL,
    place text NOT NULL,
    started timestamptz NOT NULL,
    risk integer NOT NULL,
    forgotten bigint NOT NULL,
    seconds double precision NOT NULL,
    events integer NOT NULL,
    size bigint NOT NULL
);

-- One row: the newest event that was deleted; up to where only the extension's own events are left; when events were
-- trimmed last.
CREATE TABLE {schema}.trimmed (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    gone bigint NOT NULL,
    swept bigint NOT NULL,
    at timestamptz NOT NULL
);

-- Has one row while the server runs; PostgreSQL empties it when it recovers from a crash, and when a replica takes over.
CREATE UNLOGGED TABLE {schema}.alive (at timestamptz NOT NULL);

-- Sequences in between were never given: see life.sql.
CREATE TABLE {schema}.voids (low bigint PRIMARY KEY, high bigint NOT NULL);

-- The last sequence. It is only drawn from with the lock on turn held, so the order is that of the commits.
CREATE SEQUENCE {schema}.sequence;

-- Locked, and always empty. turn: while events are numbered and stored; leases, presence, works: while those change. The
-- mode is the weakest one that excludes itself: for a stronger one the server looks through the locks of all connections.
CREATE TABLE {schema}.turn ();
CREATE TABLE {schema}.leases_turn ();
CREATE TABLE {schema}.presence_turn ();
CREATE TABLE {schema}.works_turn ();

-- latest: the key of a latest event; kept, floor: of the channel, as of this event; total: bytes of all events above the
-- floors; store_floor: the floor by bytes; written: bytes of all events ever.
CREATE TABLE {schema}.events (
    sequence bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    kept bigint NOT NULL,
    floor bigint NOT NULL,
    total bigint NOT NULL,
    store_floor bigint NOT NULL,
    written bigint NOT NULL,
    channel text COLLATE "C" NOT NULL,
    latest text COLLATE "C",
    body bytea NOT NULL
) WITH (fillfactor = 95, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.events ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX events_of_channel ON {schema}.events (channel, sequence);
CREATE INDEX latest_of_channel ON {schema}.events (channel, latest, sequence) WHERE latest IS NOT NULL;

-- The floors of channels all of whose events were deleted.
CREATE TABLE {schema}.channels (name text COLLATE "C" PRIMARY KEY, floor bigint NOT NULL);
CREATE INDEX channels_by_floor ON {schema}.channels (floor);

-- Events of transactions of the application. They have no sequence yet: place_events, in append.sql, gives them one after
-- the commit.
CREATE TABLE {schema}.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text COLLATE "C" NOT NULL,
    latest text COLLATE "C",
    body bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.outbox ALTER COLUMN body SET STORAGE EXTERNAL;

-- Leases: the slots that a process took; the slots of every other key that it may take; since when (Unix time) it has
-- had its oldest slot.
CREATE TABLE {schema}.holds (
    key text COLLATE "C", holder text COLLATE "C", slots integer NOT NULL, until timestamptz NOT NULL,
    PRIMARY KEY (key, holder)
);
CREATE INDEX holds_of_holder ON {schema}.holds (holder);
CREATE TABLE {schema}.shares (holder text COLLATE "C" PRIMARY KEY, size integer NOT NULL, until timestamptz NOT NULL);
CREATE TABLE {schema}.oldest (
    key text COLLATE "C", holder text COLLATE "C", since double precision NOT NULL, PRIMARY KEY (key, holder)
);
CREATE INDEX oldest_of_holder ON {schema}.oldest (holder);

-- Presence: until when what a process announced counts; the streams that it announced ("" is the anonymous user); who is
-- on the roster of a channel: due is when somebody who is away leaves it, owner is the process that announces the change.
CREATE TABLE {schema}.present (holder text COLLATE "C" PRIMARY KEY, until timestamptz NOT NULL);
CREATE TABLE {schema}.presence (
    channel text COLLATE "C", member text COLLATE "C", holder text COLLATE "C", streams integer NOT NULL,
    PRIMARY KEY (channel, member, holder)
);
CREATE INDEX presence_of_holder ON {schema}.presence (holder);
CREATE TABLE {schema}.roster (
    channel text COLLATE "C", member text COLLATE "C", grace double precision NOT NULL, due timestamptz,
    change text COLLATE "C" NOT NULL, owner text COLLATE "C" NOT NULL, PRIMARY KEY (channel, member)
);
CREATE INDEX roster_by_due ON {schema}.roster (due) WHERE due IS NOT NULL;
CREATE INDEX roster_by_owner ON {schema}.roster (owner) WHERE change <> '';

-- Reports of workers, in JSON; registered applications; one-time keys that were used.
CREATE TABLE {schema}.reports (holder text COLLATE "C" PRIMARY KEY, at timestamptz NOT NULL, figures text NOT NULL);
CREATE TABLE {schema}.applications (
    holder text COLLATE "C" PRIMARY KEY, name text NOT NULL, key text NOT NULL, script_name text NOT NULL,
    at timestamptz NOT NULL
);
CREATE TABLE {schema}.claims (key text COLLATE "C" PRIMARY KEY, until timestamptz NOT NULL);
CREATE INDEX claims_by_until ON {schema}.claims (until);

-- Work: its leases, who wants it, the records of runs, and the last fence. A released lease of a run has no holder; the
-- lease of a run that has ended has its fence negated. batch, epoch, last: the number of the last batch of events under
-- the lease, and the cursor of its last event.
CREATE TABLE {schema}.works (
    name text COLLATE "C" PRIMARY KEY, fence bigint NOT NULL, holder text COLLATE "C" NOT NULL,
    until timestamptz NOT NULL, batch bigint NOT NULL DEFAULT 0, epoch text NOT NULL DEFAULT '',
    last bigint NOT NULL DEFAULT 0
);
CREATE INDEX works_of_holder ON {schema}.works (holder);
CREATE TABLE {schema}.wants (
    name text COLLATE "C", holder text COLLATE "C", until timestamptz NOT NULL, PRIMARY KEY (name, holder)
);
CREATE INDEX wants_of_holder ON {schema}.wants (holder);
CREATE TABLE {schema}.runs (
    id text COLLATE "C" PRIMARY KEY, state text NOT NULL, details text NOT NULL, begin text NOT NULL,
    is_cancelled boolean NOT NULL, until timestamptz NOT NULL
);
CREATE INDEX runs_by_state ON {schema}.runs (state) WHERE state = 'running';
CREATE INDEX runs_by_until ON {schema}.runs (until);
CREATE SEQUENCE {schema}.fences;

INSERT INTO {schema}.state VALUES (true, 0, 0, '', 0, '', pg_postmaster_start_time(), 0, 0, 3600, 10000, 268435456);
INSERT INTO {schema}.trimmed VALUES (true, 0, 0, 'epoch');
