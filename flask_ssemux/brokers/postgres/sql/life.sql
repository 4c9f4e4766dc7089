-- The life of the history: finds out whether events may have been lost, and begins a new epoch, or leaves sequences out.
--
-- Whenever the server has restarted, the next sequence is the current time in microseconds, which is higher than all
-- earlier ones: also if these are of a copy that came back. The sequences in between are void: a client that knows one of
-- them has seen an event that was lost. A new epoch begins if an event that was accepted may be missing although nobody
-- knows its sequence.

CREATE OR REPLACE FUNCTION {schema}.make_name() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(substr('0123456789abcdefghijklmnopqrstuvwxyz', get_byte(decode(md5(random()::text || clock_timestamp()::text || n), 'hex'), 0) % 36 + 1, 1), '')
    FROM generate_series(1, 8) AS n
$$;

-- Whether a channel is one of the extension's own, which have limits of their own.
CREATE OR REPLACE FUNCTION {schema}.is_own(channel text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT starts_with(channel, 'ssemux.')
$$;

-- Names the database: "server database table timeline". A dump that was restored is another one. A replica that took
-- over has another timeline. Where a provider hides something, the rest must do.
CREATE OR REPLACE FUNCTION {schema}.find_place() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    server text := '';
    timeline text := '';
BEGIN
    BEGIN
        SELECT system_identifier::text INTO server FROM pg_control_system();
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        timeline := left(pg_walfile_name(pg_current_wal_lsn()), 8);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    RETURN format('%s %s %s %s', server, (SELECT oid FROM pg_database WHERE datname = current_database()),
                  '{schema}.events'::regclass::oid, timeline);
END $$;

-- What the next commit can lose: see the table state.
CREATE OR REPLACE FUNCTION {schema}.find_risk() RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN current_setting('synchronous_commit') = 'off' THEN 2
                WHEN current_setting('synchronous_commit') = 'local' OR current_setting('synchronous_standby_names') = '' THEN 1
                ELSE 0 END
$$;

CREATE OR REPLACE FUNCTION {schema}.find_newest() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT greatest((SELECT born FROM {schema}.state), (SELECT max(sequence) FROM {schema}.events))
$$;

-- Whether the event with this sequence, of the present epoch, was lost.
CREATE OR REPLACE FUNCTION {schema}.is_lost(known bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT known > {schema}.find_newest()
        OR EXISTS (SELECT FROM {schema}.voids WHERE low < known AND known < high)
$$;

-- Waits until no other transaction numbers events: for two seconds at most, since the caller waits no longer.
CREATE OR REPLACE FUNCTION {schema}.take_turn() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'its transactions are %', current_setting('transaction_isolation')
            USING ERRCODE = '25001', HINT = 'ALTER ROLE ... SET default_transaction_isolation = ''read committed''';
    END IF;
    PERFORM set_config('lock_timeout', '1900ms', true);
    LOCK TABLE {schema}.turn IN SHARE UPDATE EXCLUSIVE MODE;
END $$;

-- Returns the state, after it was brought up to date, if the server has restarted, or must_check. With the turn.
CREATE OR REPLACE FUNCTION {schema}.check_life(proven_loss boolean, must_check boolean) RETURNS {schema}.state LANGUAGE plpgsql AS $$
DECLARE
    s {schema}.state;
    newest bigint;
    place_now text;
    leap bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    has_crashed boolean;
    is_elsewhere boolean;
    is_behind boolean;
BEGIN
    SELECT * INTO STRICT s FROM {schema}.state;
    SELECT count(*) = 0 INTO has_crashed FROM {schema}.alive;
    IF NOT must_check AND NOT has_crashed AND s.started = pg_postmaster_start_time() THEN
        RETURN s;
    END IF;
    newest := {schema}.find_newest();
    place_now := {schema}.find_place();
    -- Without its last word, the timeline, the place names a database; with it, also which server was the first.
    is_elsewhere := regexp_replace(s.place, ' \S*$', '') <> regexp_replace(place_now, ' \S*$', '');
    -- The clock is behind the newest event: the database may be an older copy, and sequences might be given twice.
    SELECT coalesce(max(at) > clock_timestamp() + interval '1 second', false) INTO is_behind
        FROM {schema}.events WHERE sequence = newest;
    IF newest >= leap THEN
        leap := newest + 1000000000 + floor(random() * 1000000000)::bigint;
    END IF;
    IF s.epoch = '' THEN  -- the tables are new
        s.epoch := {schema}.make_name();
        leap := 1;
    ELSIF proven_loss OR is_elsewhere OR is_behind OR (has_crashed AND s.risk = 2)
            OR (s.place <> place_now AND s.risk > 0) THEN
        s.epoch := {schema}.make_name();
        s.born := newest;
        DELETE FROM {schema}.voids;
    ELSE
        INSERT INTO {schema}.voids VALUES (newest, leap) ON CONFLICT (low) DO UPDATE SET high = excluded.high;
        DELETE FROM {schema}.voids WHERE low < (SELECT low FROM {schema}.voids ORDER BY low DESC LIMIT 1 OFFSET 1000);
    END IF;
    PERFORM setval('{schema}.sequence', leap, false);
    IF has_crashed THEN
        INSERT INTO {schema}.alive VALUES (clock_timestamp());
    END IF;
    UPDATE {schema}.state SET epoch = s.epoch, born = s.born, place = place_now, risk = 0,
        started = pg_postmaster_start_time() RETURNING * INTO s;
    PERFORM set_config('synchronous_commit', 'on', true);
    RETURN s;
END $$;

-- Returns the epoch, the newest sequence, the one at which the epoch began, and the voids as "low:high low:high".
--
-- known_epoch, known: the newest cursor that the calling process has seen, which is the proof if that event is lost.
CREATE OR REPLACE FUNCTION {schema}.read_state(
    known_epoch text, known bigint, OUT epoch text, OUT newest bigint, OUT born bigint, OUT voids text
) LANGUAGE plpgsql {plan} AS $$
DECLARE
    s {schema}.state;
    proven_loss boolean;
    is_elsewhere boolean;
BEGIN
    SELECT * INTO STRICT s FROM {schema}.state;
    proven_loss := s.epoch = known_epoch AND {schema}.is_lost(known);
    IF proven_loss OR s.place <> {schema}.find_place() OR s.started <> pg_postmaster_start_time() OR NOT EXISTS (SELECT FROM {schema}.alive) THEN
        PERFORM {schema}.take_turn();
        -- Again: another process may have brought the state up to date meanwhile.
        SELECT known_epoch = it.epoch AND {schema}.is_lost(known), it.place <> {schema}.find_place()
            INTO proven_loss, is_elsewhere FROM {schema}.state AS it;
        s := {schema}.check_life(proven_loss, proven_loss OR is_elsewhere);
    END IF;
    epoch := s.epoch;
    born := s.born;
    newest := {schema}.find_newest();
    SELECT coalesce(string_agg(low || ':' || high, ' '), '') INTO voids FROM {schema}.voids;
END $$;

-- Writes the limits of the application. If there are more bytes than the new limit, the oldest events go over it.
CREATE OR REPLACE FUNCTION {schema}.set_limits(new_seconds double precision, new_events integer, new_size bigint)
RETURNS void LANGUAGE plpgsql {plan} AS $$
DECLARE
    head {schema}.events;
    moved record;
BEGIN
    IF EXISTS (SELECT FROM {schema}.state WHERE (seconds, events, size) = (new_seconds, new_events, new_size)) THEN
        RETURN;
    END IF;
    PERFORM {schema}.take_turn();
    UPDATE {schema}.state SET seconds = new_seconds, events = new_events, size = new_size;
    SELECT * INTO head FROM {schema}.events ORDER BY sequence DESC LIMIT 1;
    IF FOUND AND head.total > new_size THEN
        moved := {schema}.raise_floor(head.total, head.store_floor, new_size, head.sequence - 1, '', 0, 0);
        UPDATE {schema}.events SET total = moved.total, store_floor = moved.store_floor WHERE sequence = head.sequence;
    END IF;
END $$;
