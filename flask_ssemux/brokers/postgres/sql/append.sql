-- Numbers events, stores them and announces them: one transaction, which commits before the next one numbers its events.

-- Raises the floor by bytes over the oldest events until the limit is kept.
--
-- total, store_floor: of the store; most: the limit; upto: the floor does not go further; name, floor: a channel whose
-- floor is not stored yet, and that floor; replaced: an event that total does not count.
CREATE OR REPLACE FUNCTION {schema}.raise_floor(
    INOUT total bigint, INOUT store_floor bigint, most bigint, upto bigint, name text, floor bigint, replaced bigint
) LANGUAGE plpgsql AS $$
DECLARE
    it record;
    its_floor bigint;
BEGIN
    FOR it IN
        SELECT e.sequence, e.channel, octet_length(e.body) AS size FROM {schema}.events AS e
        WHERE e.sequence > raise_floor.store_floor AND e.sequence <= upto AND NOT {schema}.is_own(e.channel)
        ORDER BY e.sequence
    LOOP
        store_floor := it.sequence;
        its_floor := floor;
        IF it.channel <> name THEN
            SELECT n.floor INTO its_floor FROM {schema}.find_head(it.channel) AS n;
        END IF;
        IF it.sequence > its_floor AND it.sequence <> replaced THEN
            total := total - it.size;
        END IF;
        EXIT WHEN total <= most;
    END LOOP;
END $$;

-- What the processes are notified of: see news.py. cursor: "epoch sequence"; key: of a latest event, or NULL.
CREATE OR REPLACE FUNCTION {schema}.make_news(cursor text, name text, key text, body bytea) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT cursor || ' ' || octet_length(body) || ' ' || length(name) || ' ' || name || CASE
        WHEN key IS NULL AND octet_length(body) <= {small} AND octet_length(name) <= {small} THEN encode(body, 'base64')
        ELSE '' END
$$;

-- Appends events, with consecutive sequences. With the turn.
--
-- names, bodies, keys: of each event its channel, its body, and the key of a latest event, or NULL; own_events: the limit
-- of events of the extension's own channels. Returns the epoch, the last sequence, and the channels that went over their
-- limit of events.
CREATE OR REPLACE FUNCTION {schema}.add_events(
    names text[], bodies bytea[], keys text[], own_events integer, OUT epoch text, OUT last bigint, OUT over text[]
) LANGUAGE plpgsql AS $$
DECLARE
    s {schema}.state;
    head record;
    older record;
    it record;
    ignored text;
    name text;
    body bytea;
    size bigint;
    most bigint;
    now timestamptz;
    h_kept bigint;
    h_floor bigint;
    h_total bigint := 0;
    h_store_floor bigint := 0;
    h_written bigint := 0;
    replaced bigint;
    is_own boolean;
BEGIN
    s := {schema}.check_life(false, false);
    IF s.risk < 2 AND {schema}.find_risk() > s.risk THEN
        UPDATE {schema}.state SET risk = {schema}.find_risk();
        PERFORM set_config('synchronous_commit', 'on', true);  -- or a crash could take this note with the first event
    END IF;
    SELECT n.total, n.store_floor, n.written INTO head FROM {schema}.find_newest_event() AS n;
    now := clock_timestamp();
    IF FOUND THEN
        h_total := head.total;
        h_store_floor := head.store_floor;
        h_written := head.written;
    END IF;
    FOR i IN 1 .. array_length(names, 1) LOOP
        name := names[i];
        body := bodies[i];
        is_own := starts_with(name, 'ssemux.');
        size := CASE WHEN is_own THEN 0 ELSE octet_length(body) END;
        most := CASE WHEN is_own THEN own_events ELSE s.events END;
        SELECT n.kept, n.floor INTO h_kept, h_floor FROM {schema}.find_head(name) AS n;
        IF NOT FOUND THEN
            h_kept := 0;
            SELECT c.floor INTO h_floor FROM {schema}.channels AS c WHERE c.name = add_events.names[i];
            h_floor := coalesce(h_floor, s.forgotten);
        END IF;
        h_kept := h_kept + 1;
        replaced := 0;
        IF keys[i] IS NOT NULL THEN
            SELECT n.sequence, n.size INTO older FROM {schema}.find_latest(name, keys[i]) AS n;
            IF FOUND THEN
                replaced := older.sequence;
                IF replaced > h_floor THEN
                    h_kept := h_kept - 1;
                    IF replaced > h_store_floor AND NOT is_own THEN
                        h_total := h_total - older.size;
                    END IF;
                END IF;
            END IF;
        END IF;
        IF h_kept > most THEN
            FOR it IN
                SELECT e.sequence, octet_length(e.body) AS size FROM {schema}.events AS e
                WHERE (e.channel, e.sequence) > (name, h_floor) AND (e.channel, e.sequence) <= (name, {greatest})
                    AND e.sequence <> replaced
                ORDER BY e.channel, e.sequence LIMIT h_kept - most
            LOOP
                h_kept := h_kept - 1;
                IF it.sequence > h_store_floor AND NOT is_own THEN
                    h_total := h_total - it.size;
                END IF;
                h_floor := it.sequence;
            END LOOP;
            over := CASE WHEN name = ANY (over) THEN over ELSE over || name END;
        END IF;
        h_total := h_total + size;
        h_written := h_written + octet_length(body);
        IF h_total > s.size THEN
            SELECT r.total, r.store_floor INTO h_total, h_store_floor
                FROM {schema}.raise_floor(h_total, h_store_floor, s.size, {greatest}, name, h_floor, replaced) AS r;
        END IF;
        last := nextval('{schema}.sequence');
        INSERT INTO {schema}.events
            VALUES (last, now, h_kept, h_floor, h_total, h_store_floor, h_written, name, keys[i], body);
        IF replaced > 0 THEN
            DELETE FROM {schema}.events AS e WHERE e.sequence = replaced;
        END IF;
        ignored := pg_notify(s.notify_channel, {schema}.make_news(s.epoch || ' ' || last, name, keys[i], body));
    END LOOP;
    epoch := s.epoch;
END $$;

-- Gives events of committed transactions of the application their place in the order, in the order in which they were
-- written; returns how many. With the turn.
CREATE OR REPLACE FUNCTION {schema}.place_waiting(most integer, own_events integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    names text[];
    bodies bytea[];
    keys text[];
BEGIN
    WITH moved AS (
        DELETE FROM {schema}.outbox WHERE id IN (SELECT id FROM {schema}.outbox ORDER BY id LIMIT most) RETURNING *
    )
    SELECT array_agg(m.channel ORDER BY m.id), array_agg(m.body ORDER BY m.id), array_agg(m.latest ORDER BY m.id)
        INTO names, bodies, keys FROM moved AS m;
    IF names IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM {schema}.add_events(names, bodies, keys, own_events);
    RETURN array_length(names, 1);
END $$;

-- Appends events in a transaction of their own, after those of the application's transactions that are committed.
-- commit_mode: of synchronous_commit; '' for the server's setting.
CREATE OR REPLACE FUNCTION {schema}.append_events(
    names text[], bodies bytea[], keys text[], own_events integer, commit_mode text,
    OUT epoch text, OUT last bigint, OUT over text[]
) LANGUAGE plpgsql {plan} AS $$
BEGIN
    IF commit_mode <> '' THEN
        PERFORM set_config('synchronous_commit', commit_mode, true);
    END IF;
    PERFORM {schema}.take_turn();
    IF EXISTS (SELECT FROM {schema}.outbox) THEN
        PERFORM {schema}.place_waiting(500, own_events);
    END IF;
    SELECT * INTO epoch, last, over FROM {schema}.add_events(names, bodies, keys, own_events);
END $$;

-- Appends one event that replaces no other, as append_events does. Returns "epoch sequence"; and a third word if
-- append_events had to do it: "over" if the channel went over its limit of events, else "slow".
--
-- For most events no limit is reached, the server has not restarted, and no transaction of the application waits. One
-- query stores such an event; it stores nothing of any other, which append_events then does. This is most of the server's
-- work for its workers, so each query and each expression counts. PERFORM would be a query, so set_config and pg_notify are
-- assigned instead.
CREATE OR REPLACE FUNCTION {schema}.append_event(name text, its_body bytea, own_events integer, commit_mode text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
    notify_channel text;
    ignored text;
    added record;
BEGIN
    ignored := set_config('lock_timeout', '1900ms', true) || set_config(
        'synchronous_commit', CASE WHEN commit_mode = '' THEN current_setting('synchronous_commit') ELSE commit_mode END, true
    ) || set_config('enable_seqscan', 'off', true) || set_config('jit', 'off', true);  -- as {plan}
    LOCK TABLE {schema}.turn IN SHARE UPDATE EXCLUSIVE MODE;
    INSERT INTO {schema}.events AS n
        SELECT nextval('{schema}.sequence'), clock_timestamp(), coalesce(c.kept, 0) + 1,
            coalesce(c.floor, (SELECT f.floor FROM {schema}.channels AS f WHERE f.name = append_event.name), t.forgotten),
            coalesce(e.total, 0) + octet_length(its_body), coalesce(e.store_floor, 0),
            coalesce(e.written, 0) + octet_length(its_body), append_event.name, NULL, its_body
        FROM {schema}.state AS t
            LEFT JOIN {schema}.find_newest_event() AS e ON true
            LEFT JOIN {schema}.find_head(append_event.name) AS c ON true
        WHERE NOT {schema}.is_own(append_event.name)
            AND coalesce(c.kept, 0) < t.events AND coalesce(e.total, 0) + octet_length(its_body) <= t.size
            AND (t.risk = 2 OR {schema}.find_risk() <= t.risk)
            AND t.started = pg_postmaster_start_time() AND EXISTS (SELECT FROM {schema}.alive)
            AND NOT EXISTS (SELECT FROM {schema}.outbox)
            AND current_setting('transaction_isolation') = 'read committed'
        RETURNING (SELECT t.epoch FROM {schema}.state AS t) || ' ' || n.sequence,
            (SELECT t.notify_channel FROM {schema}.state AS t) INTO answer, notify_channel;
    IF answer IS NOT NULL THEN
        ignored := pg_notify(notify_channel, {schema}.make_news(answer, append_event.name, NULL, its_body));
        RETURN answer;
    END IF;
    added := {schema}.append_events(ARRAY[append_event.name], ARRAY[its_body], ARRAY[NULL::text], own_events, commit_mode);
    RETURN concat_ws(' ', added.epoch, added.last, CASE WHEN cardinality(added.over) > 0 THEN 'over' ELSE 'slow' END);
END $$;

-- Places events of the application's transactions, if there are any; returns how many.
CREATE OR REPLACE FUNCTION {schema}.place_events(most integer, own_events integer, commit_mode text) RETURNS integer
LANGUAGE plpgsql {plan} AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.outbox) THEN
        RETURN 0;
    END IF;
    IF commit_mode <> '' THEN
        PERFORM set_config('synchronous_commit', commit_mode, true);
    END IF;
    PERFORM {schema}.take_turn();
    RETURN {schema}.place_waiting(most, own_events);
END $$;
