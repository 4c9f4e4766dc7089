-- Deletes, a few at a time, the events that are over a limit of the history and that every process has delivered.

-- The position up to which events need not be kept for delivery: the newest of all that are older, further back and, if
-- the younger ones have too many bytes, beyond these.
CREATE OR REPLACE FUNCTION {schema}.find_live(seconds double precision, count integer, size bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    aged bigint := {schema}.find_older(seconds, (SELECT swept FROM {schema}.trimmed));
    counted bigint;
    weighed bigint;
    head record;
    low bigint := 0;
    high bigint;
    middle bigint;
    bytes bigint;
BEGIN
    SELECT e.sequence, e.written INTO head FROM {schema}.events AS e ORDER BY e.sequence DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT e.sequence INTO counted FROM {schema}.events AS e ORDER BY e.sequence DESC OFFSET count LIMIT 1;
    weighed := least(aged, coalesce(counted, 0));
    low := weighed;
    high := head.sequence - 1;
    WHILE low < high LOOP  -- the newest position up to which the events after it have more bytes than that
        middle := low + (high - low + 1) / 2;
        SELECT e.written INTO bytes FROM {schema}.events AS e WHERE e.sequence <= middle ORDER BY e.sequence DESC LIMIT 1;
        IF FOUND AND head.written - bytes >= size THEN
            low := middle;
        ELSE
            SELECT e.sequence INTO high FROM {schema}.events AS e WHERE e.sequence <= middle ORDER BY e.sequence DESC LIMIT 1;
            high := coalesce(high, low + 1) - 1;
        END IF;
    END LOOP;
    RETURN greatest(low, weighed);
END $$;

-- Deletes these events, and notes their floors. With the turn.
CREATE OR REPLACE FUNCTION {schema}.delete_events(sequences bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    it record;
    head record;
    store_floor bigint;
    removed bigint := 0;
    old_floor bigint;
    more integer;
    bytes bigint;
BEGIN
    SELECT e.store_floor INTO store_floor FROM {schema}.events AS e ORDER BY e.sequence DESC LIMIT 1;
    FOR it IN
        WITH deleted AS (
            DELETE FROM {schema}.events AS e WHERE e.sequence = ANY (sequences)
            RETURNING e.sequence, e.channel, e.floor, octet_length(e.body) AS size
        )
        SELECT d.channel, max(d.sequence) AS last, max(d.floor) AS floor, array_agg(d.sequence) AS numbers,
            array_agg(d.size) AS sizes FROM deleted AS d GROUP BY d.channel
    LOOP
        SELECT n.sequence, n.floor INTO head FROM {schema}.find_head(it.channel) AS n;
        old_floor := coalesce(head.floor, it.floor);
        SELECT count(*), coalesce(sum(d.size) FILTER (WHERE d.sequence > store_floor), 0) INTO more, bytes
            FROM unnest(it.numbers, it.sizes) AS d (sequence, size) WHERE d.sequence > old_floor;
        IF NOT {schema}.is_own(it.channel) THEN
            removed := removed + bytes;
        END IF;
        IF head.sequence IS NULL THEN
            INSERT INTO {schema}.channels AS c VALUES (it.channel, it.last)
                ON CONFLICT (name) DO UPDATE SET floor = greatest(c.floor, excluded.floor);
        ELSIF more > 0 THEN
            UPDATE {schema}.events AS e SET kept = e.kept - more, floor = greatest(e.floor, it.last)
                WHERE e.sequence = head.sequence;
        END IF;
    END LOOP;
    UPDATE {schema}.trimmed SET gone = greatest(gone, (SELECT max(n) FROM unnest(sequences) AS n));
    IF removed > 0 THEN
        UPDATE {schema}.events SET total = total - removed WHERE sequence = (SELECT max(sequence) FROM {schema}.events);
    END IF;
END $$;

-- Trims one round, unless another process did so less than pause seconds ago. over: channels that went over their limit
-- of events; is_long: also trims what is trimmed once a minute.
-- Returns the channels of over of which more is to be deleted.
CREATE OR REPLACE FUNCTION {schema}.trim_events(
    over text[], is_long boolean, most integer, live_seconds double precision, live_events integer, live_bytes bigint,
    least_bytes bigint, own_seconds double precision, most_floors integer, pause double precision
) RETURNS text[] LANGUAGE plpgsql {plan} AS $$
DECLARE
    s {schema}.state;
    t {schema}.trimmed;
    floors record;
    live bigint;
    upto bigint;
    found_events bigint[];
    name text;
    floor_of_channel bigint;
    kept_channels text[] := '{}';
    many bigint;
BEGIN
    IF EXISTS (SELECT FROM {schema}.trimmed
               WHERE at BETWEEN clock_timestamp() - pause * interval '1 second' AND clock_timestamp()) THEN
        RETURN over;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM {schema}.take_turn();
    SELECT * INTO STRICT s FROM {schema}.state;
    SELECT * INTO STRICT t FROM {schema}.trimmed;
    -- Events of a clock that was ahead would not age until it shows that time again.
    IF EXISTS (SELECT FROM (SELECT at FROM {schema}.events ORDER BY sequence DESC LIMIT 1) AS e
               WHERE e.at > clock_timestamp() + interval '1 second') THEN
        UPDATE {schema}.events SET at = clock_timestamp() WHERE at > clock_timestamp();
    END IF;
    live := {schema}.find_live(live_seconds, live_events, greatest(least_bytes, least(live_bytes, s.size)));
    floors := {schema}.find_store_floors(own_seconds);
    upto := least(live, floors.common);
    SELECT array_agg(e.sequence) INTO found_events FROM (
        SELECT sequence FROM {schema}.events
        WHERE sequence > t.swept AND sequence <= upto AND NOT {schema}.is_own(channel) ORDER BY sequence LIMIT most
    ) AS e;
    IF found_events IS NOT NULL THEN
        PERFORM {schema}.delete_events(found_events);
    END IF;
    FOREACH name IN ARRAY over LOOP
        SELECT n.floor INTO floor_of_channel FROM {schema}.find_head(name) AS n;
        SELECT array_agg(e.sequence) INTO found_events FROM (
            SELECT sequence FROM {schema}.events
            WHERE (channel, sequence) > (name, CASE WHEN {schema}.is_own(name) THEN 0 ELSE t.swept END)
                AND (channel, sequence) <= (name, floor_of_channel)
            ORDER BY channel, sequence LIMIT most
        ) AS e;
        IF array_length(found_events, 1) = most OR live < ANY (found_events) THEN
            kept_channels := kept_channels || name;
        END IF;
        SELECT array_agg(n) INTO found_events FROM unnest(found_events) AS n WHERE n <= live;
        IF found_events IS NOT NULL THEN
            PERFORM {schema}.delete_events(found_events);
        END IF;
    END LOOP;
    IF is_long THEN
        SELECT array_agg(e.sequence) INTO found_events FROM (
            SELECT sequence FROM {schema}.events
            WHERE channel >= 'ssemux.' AND channel < 'ssemux/' AND sequence <= least(live, floors.own)
            ORDER BY channel, sequence LIMIT most  -- by the index of channels: they are few among all events
        ) AS e;
        IF found_events IS NOT NULL THEN
            PERFORM {schema}.delete_events(found_events);
        END IF;
        SELECT count(*) INTO many FROM {schema}.channels;
        IF many > most_floors THEN
            SELECT c.floor INTO floor_of_channel FROM {schema}.channels AS c ORDER BY c.floor OFFSET many / 2 LIMIT 1;
            UPDATE {schema}.state SET forgotten = greatest(forgotten, floor_of_channel);
            DELETE FROM {schema}.channels AS c WHERE c.floor <= floor_of_channel;
        END IF;
    END IF;
    -- The next round begins its searches behind the rows that are deleted and not vacuumed yet.
    SELECT min(e.sequence) - 1 INTO upto FROM {schema}.events AS e
        WHERE e.sequence > t.swept AND NOT {schema}.is_own(e.channel);
    IF upto > t.swept THEN
        UPDATE {schema}.trimmed SET at = clock_timestamp(), swept = upto;
    END IF;
    RETURN kept_channels;
END $$;
