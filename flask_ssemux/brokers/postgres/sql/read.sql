-- Reads the history: floors, pages, latest events, new events. STABLE: all statements of a call see one moment.
--
-- What is searched for in one channel is compared as a row, (channel, sequence), and ordered by both. With "channel = x
-- ORDER BY sequence LIMIT 1" the planner may follow the primary key, and read all events of other channels, if it takes a
-- rare channel for a frequent one.

-- The newest event of all.
CREATE OR REPLACE FUNCTION {schema}.find_newest_event() RETURNS TABLE (total bigint, store_floor bigint, written bigint)
LANGUAGE sql STABLE AS $$
    SELECT e.total, e.store_floor, e.written FROM {schema}.events AS e ORDER BY e.sequence DESC LIMIT 1
$$;

-- The newest event of a channel.
CREATE OR REPLACE FUNCTION {schema}.find_head(name text) RETURNS TABLE (sequence bigint, kept bigint, floor bigint)
LANGUAGE sql STABLE AS $$
    SELECT n.sequence, n.kept, n.floor FROM (
        SELECT e.channel, e.sequence, e.kept, e.floor FROM {schema}.events AS e
        WHERE (e.channel, e.sequence) <= (find_head.name, {greatest}) ORDER BY e.channel DESC, e.sequence DESC LIMIT 1
    ) AS n WHERE n.channel = find_head.name
$$;

-- The latest event with this key in a channel.
CREATE OR REPLACE FUNCTION {schema}.find_latest(name text, key text) RETURNS TABLE (sequence bigint, size integer)
LANGUAGE sql STABLE AS $$
    SELECT n.sequence, octet_length(n.body) FROM (
        SELECT e.channel, e.latest, e.sequence, e.body FROM {schema}.events AS e
        WHERE e.latest IS NOT NULL AND (e.channel, e.latest, e.sequence) <= (find_latest.name, find_latest.key, {greatest})
        ORDER BY e.channel DESC, e.latest DESC, e.sequence DESC LIMIT 1
    ) AS n WHERE n.channel = find_latest.name AND n.latest = find_latest.key
$$;

-- The position up to which all events are older than so many seconds; never the newest event; 0 if there is none. Events
-- are in the order of their time, too, so it is searched by halves. first: where the search begins.
CREATE OR REPLACE FUNCTION {schema}.find_older(seconds double precision, first bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    before timestamptz := clock_timestamp() - seconds * interval '1 second';
    low bigint;
    high bigint;
    middle bigint;
    it record;
BEGIN
    SELECT e.sequence, e.at INTO it FROM {schema}.events AS e WHERE e.sequence > first ORDER BY e.sequence LIMIT 1;
    IF NOT FOUND OR it.at >= before THEN
        RETURN 0;
    END IF;
    SELECT max(e.sequence) - 1 INTO high FROM {schema}.events AS e;
    low := it.sequence;
    IF low > high THEN
        RETURN 0;
    END IF;
    WHILE low < high LOOP
        middle := low + (high - low + 1) / 2;
        SELECT e.sequence, e.at INTO it FROM {schema}.events AS e
            WHERE e.sequence <= middle ORDER BY e.sequence DESC LIMIT 1;
        IF it.at < before THEN
            low := middle;
        ELSE
            high := it.sequence - 1;
        END IF;
    END LOOP;
    RETURN low;
END $$;

-- The position up to which events are over a limit whatever their channel: of the application's channels, and of the
-- extension's own.
CREATE OR REPLACE FUNCTION {schema}.find_store_floors(own_seconds double precision, OUT common bigint, OUT own bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    s {schema}.state;
BEGIN
    SELECT * INTO STRICT s FROM {schema}.state;
    SELECT e.store_floor INTO common FROM {schema}.events AS e ORDER BY e.sequence DESC LIMIT 1;
    common := greatest(common, {schema}.find_older(s.seconds, (SELECT swept FROM {schema}.trimmed)), 0);
    own := {schema}.find_older(greatest(own_seconds, s.seconds), 0);
END $$;

-- The newest event of a channel that is over a limit; 0 if none is.
CREATE OR REPLACE FUNCTION {schema}.find_floor(
    name text, common bigint, own bigint, most bigint, forgotten bigint, own_events integer
) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    head record;
    is_own boolean := starts_with(name, 'ssemux.');
    allowed bigint := CASE WHEN is_own THEN own_events ELSE most END;
    found_floor bigint;
    later bigint;
BEGIN
    SELECT n.kept, n.floor INTO head FROM {schema}.find_head(name) AS n;
    IF NOT FOUND THEN
        SELECT c.floor INTO found_floor FROM {schema}.channels AS c WHERE c.name = find_floor.name;
        RETURN coalesce(found_floor, forgotten);
    END IF;
    found_floor := head.floor;
    IF head.kept > allowed THEN  -- the limit was lowered since the channel's newest event
        SELECT e.sequence INTO later FROM {schema}.events AS e
            WHERE (e.channel, e.sequence) > (name, head.floor) AND (e.channel, e.sequence) <= (name, {greatest})
            ORDER BY e.channel, e.sequence OFFSET head.kept - allowed - 1 LIMIT 1;
        found_floor := greatest(found_floor, later);
    END IF;
    IF (CASE WHEN is_own THEN own ELSE common END) > found_floor THEN
        SELECT e.sequence INTO later FROM {schema}.events AS e
            WHERE (e.channel, e.sequence) > (name, found_floor)
                AND (e.channel, e.sequence) <= (name, CASE WHEN is_own THEN own ELSE common END)
            ORDER BY e.channel DESC, e.sequence DESC LIMIT 1;
        found_floor := greatest(found_floor, later);
    END IF;
    RETURN found_floor;
END $$;

-- Returns the epoch, the newest sequence, and the floor of each channel, in the order of the names.
CREATE OR REPLACE FUNCTION {schema}.get_floors(
    names text[], own_seconds double precision, own_events integer, OUT epoch text, OUT newest bigint, OUT floors bigint[]
) LANGUAGE plpgsql STABLE {plan} AS $$
DECLARE
    s {schema}.state;
    f record;
BEGIN
    SELECT * INTO STRICT s FROM {schema}.state;
    f := {schema}.find_store_floors(own_seconds);
    epoch := s.epoch;
    newest := {schema}.find_newest();
    SELECT array_agg({schema}.find_floor(n.name, f.common, f.own, s.events, s.forgotten, own_events) ORDER BY n.i)
        INTO floors FROM unnest(names) WITH ORDINALITY AS n (name, i);
END $$;

-- Returns the oldest events of each channel in its range, and after them a row without a sequence: up to where these are
-- all events of the range, and whether the channel's floor lies in it. Its first row has the epoch as its body.
CREATE OR REPLACE FUNCTION {schema}.read_channels(
    names text[], afters bigint[], uptos bigint[], most integer, size bigint, large integer,
    own_seconds double precision, own_events integer
) RETURNS TABLE (number integer, sequence bigint, body bytea, latest text, upto bigint, is_missing boolean)
LANGUAGE plpgsql STABLE {plan} AS $$
DECLARE
    known_floors bigint[];
    it record;
    start bigint;
    count integer;
    length integer;
BEGIN
    SELECT f.floors, convert_to(f.epoch, 'UTF8') INTO known_floors, body
        FROM {schema}.get_floors(names, own_seconds, own_events) AS f;
    RETURN NEXT;
    FOR i IN 1 .. coalesce(array_length(names, 1), 0) LOOP
        number := i;
        start := greatest(afters[i], known_floors[i]);
        upto := uptos[i];
        is_missing := known_floors[i] > afters[i];
        count := 0;
        length := 0;
        IF size > 0 THEN
            FOR it IN
                SELECT e.sequence, e.body, e.latest FROM {schema}.events AS e
                WHERE (e.channel, e.sequence) > (names[i], start) AND (e.channel, e.sequence) <= (names[i], uptos[i])
                ORDER BY e.channel, e.sequence LIMIT most
            LOOP
                sequence := it.sequence;
                body := it.body;
                latest := it.latest;
                RETURN NEXT;
                count := count + 1;
                length := octet_length(it.body);
                size := size - length;
                EXIT WHEN size <= 0;
            END LOOP;
            IF size <= 0 OR count = most THEN
                upto := sequence;
                start := sequence;
            END IF;
        END IF;
        IF upto < uptos[i] AND length > large OR size <= 0 AND count = 0 THEN  -- from the index alone: it reads no body
            SELECT e.sequence - 1 INTO upto FROM {schema}.events AS e
                WHERE (e.channel, e.sequence) > (names[i], start) AND (e.channel, e.sequence) <= (names[i], uptos[i])
                ORDER BY e.channel, e.sequence LIMIT 1;
            upto := coalesce(upto, uptos[i]);
        END IF;
        sequence := NULL;
        body := NULL;
        latest := NULL;
        RETURN NEXT;
    END LOOP;
END $$;

-- Returns the epoch and the newest sequence in the first row, and then the latest events of these channels: by the index of
-- latest events alone, since most channels have none, and a table that is read as a whole would be read for each stream.
CREATE OR REPLACE FUNCTION {schema}.start_channels(names text[], own_seconds double precision, own_events integer)
RETURNS TABLE (epoch text, sequence bigint, channel text, body bytea, latest text) LANGUAGE plpgsql STABLE {plan} AS $$
DECLARE
    found_names text[];
    known record;
BEGIN
    SELECT s.epoch, {schema}.find_newest() INTO epoch, sequence FROM {schema}.state AS s;
    RETURN NEXT;
    SELECT array_agg(n.name) INTO found_names FROM unnest(names) AS n (name) WHERE n.name = (
        SELECT e.channel FROM {schema}.events AS e
        WHERE e.latest IS NOT NULL AND (e.channel, e.latest) >= (n.name, '') ORDER BY e.channel, e.latest LIMIT 1
    );
    IF found_names IS NULL THEN
        RETURN;
    END IF;
    known := {schema}.get_floors(found_names, own_seconds, own_events);
    RETURN QUERY
        SELECT NULL::text, e.sequence, e.channel, e.body, e.latest
        FROM unnest(found_names, known.floors) AS n (name, floor) CROSS JOIN LATERAL (
            SELECT * FROM {schema}.events AS l
            WHERE l.latest IS NOT NULL AND (l.channel, l.latest) >= (n.name, '') AND l.channel <= n.name
                AND l.sequence + 0 > n.floor
            OFFSET 0  -- for each name, rather than all names for each event
        ) AS e
        ORDER BY e.sequence;
END $$;

-- Returns the next events of all channels, in their order: so many, and about so many bytes.
CREATE OR REPLACE FUNCTION {schema}.read_after(after bigint, upto bigint, most integer, size bigint)
RETURNS TABLE (sequence bigint, channel text, body bytea, latest text) LANGUAGE plpgsql STABLE {plan} AS $$
BEGIN
    FOR sequence, channel, body, latest IN
        SELECT e.sequence, e.channel, e.body, e.latest FROM {schema}.events AS e
        WHERE e.sequence > after AND e.sequence <= upto ORDER BY e.sequence LIMIT most
    LOOP
        RETURN NEXT;
        size := size - octet_length(body);
        EXIT WHEN size <= 0;
    END LOOP;
END $$;

-- Returns events by their sequences, in their order.
CREATE OR REPLACE FUNCTION {schema}.read_some(sequences bigint[])
RETURNS TABLE (sequence bigint, channel text, body bytea, latest text) LANGUAGE sql STABLE {plan} AS $$
    SELECT e.sequence, e.channel, e.body, e.latest FROM {schema}.events AS e
    WHERE e.sequence = ANY (sequences) ORDER BY e.sequence
$$;

-- Returns the newest event that was deleted, and the floor of all channels that are not known any more.
CREATE OR REPLACE FUNCTION {schema}.read_gone(OUT gone bigint, OUT forgotten bigint) LANGUAGE sql STABLE AS $$
    SELECT t.gone, s.forgotten FROM {schema}.state AS s, {schema}.trimmed AS t
$$;
