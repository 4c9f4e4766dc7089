-- The user slots: each change is one short transaction, which takes its turn. A crash may take the last ones: processes
-- write all their numbers again every few seconds.

CREATE OR REPLACE FUNCTION {schema}.take_leases_turn() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM set_config('lock_timeout', '1900ms', true);
    LOCK TABLE {schema}.leases_turn IN SHARE UPDATE EXCLUSIVE MODE;
END $$;

-- How many slots of a key other processes have written, and the shares of those that have not.
CREATE OR REPLACE FUNCTION {schema}.count_others(k text, me text, OUT others bigint, OUT shared bigint)
LANGUAGE sql VOLATILE AS $$
    SELECT
        (SELECT coalesce(sum(slots), 0) FROM {schema}.holds WHERE key = k AND until >= clock_timestamp() AND holder <> me),
        (SELECT coalesce(sum(size), 0) FROM {schema}.shares AS s
         WHERE until >= clock_timestamp() AND holder <> me AND NOT EXISTS (
            SELECT FROM {schema}.holds AS h WHERE h.key = k AND h.holder = s.holder AND h.until >= clock_timestamp()))
$$;

CREATE OR REPLACE FUNCTION {schema}.find_share(me text) RETURNS integer LANGUAGE sql VOLATILE AS $$
    SELECT coalesce((SELECT size FROM {schema}.shares WHERE holder = me AND until >= clock_timestamp()), 0)
$$;

-- Writes how many slots of a key a process has. A process that has a share also writes that it has none of it.
CREATE OR REPLACE FUNCTION {schema}.write_slots(k text, me text, number integer, lasts double precision) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF number > 0 OR {schema}.find_share(me) > 0 THEN
        INSERT INTO {schema}.holds VALUES (k, me, number, clock_timestamp() + lasts * interval '1 second')
            ON CONFLICT (key, holder) DO UPDATE SET slots = excluded.slots, until = excluded.until;
    ELSE
        DELETE FROM {schema}.holds WHERE key = k AND holder = me;
    END IF;
END $$;

-- Writes that a process takes one more slot, if one is free; with must_write its number also if none is, since it gives
-- up its share. Returns 1 if it was taken, 0 if all are taken, 2 if one may be free; and who else has slots or a share.
CREATE OR REPLACE FUNCTION {schema}.take_slot(
    k text, me text, taken integer, most integer, must_write boolean, lasts double precision,
    OUT answer integer, OUT holders text[]
) LANGUAGE plpgsql {plan} AS $$
DECLARE
    found_others bigint;
    found_shared bigint;
BEGIN
    PERFORM {schema}.take_leases_turn();
    SELECT c.others, c.shared INTO found_others, found_shared FROM {schema}.count_others(k, me) AS c;
    answer := CASE WHEN found_others + found_shared + taken < most THEN 1 WHEN found_others + taken >= most THEN 0 ELSE 2 END;
    IF answer = 1 OR must_write THEN
        PERFORM {schema}.write_slots(k, me, taken + CASE WHEN answer = 1 THEN 1 ELSE 0 END, lasts);
    END IF;
    IF answer <> 1 THEN
        SELECT array_agg(h.holder) INTO holders FROM (
            SELECT holder FROM {schema}.holds WHERE key = k UNION SELECT holder FROM {schema}.shares
        ) AS h;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION {schema}.set_slots(me text, ks text[], numbers integer[], lasts double precision) RETURNS void
LANGUAGE plpgsql {plan} AS $$
BEGIN
    PERFORM {schema}.take_leases_turn();
    FOR i IN 1 .. coalesce(array_length(ks, 1), 0) LOOP
        PERFORM {schema}.write_slots(ks[i], me, numbers[i], lasts);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION {schema}.release_leases(who text[]) RETURNS void LANGUAGE plpgsql {replan} AS $$
BEGIN
    PERFORM {schema}.take_leases_turn();
    DELETE FROM {schema}.holds WHERE holder = ANY (who);
    DELETE FROM {schema}.shares WHERE holder = ANY (who);
    DELETE FROM {schema}.oldest WHERE holder = ANY (who);
END $$;

-- Renews the share of a process; returns it, 0 if it has expired.
CREATE OR REPLACE FUNCTION {schema}.extend_share(me text, lasts double precision) RETURNS integer
LANGUAGE plpgsql {replan} AS $$
BEGIN
    PERFORM {schema}.take_leases_turn();
    UPDATE {schema}.shares SET until = clock_timestamp() + lasts * interval '1 second'
        WHERE holder = me AND until >= clock_timestamp();
    RETURN {schema}.find_share(me);
END $$;

CREATE OR REPLACE FUNCTION {schema}.list_share_holders(me text) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(holder), '{}') FROM {schema}.shares WHERE holder <> me
$$;

-- Writes the numbers of a process anew, and gives it a share if it has none and wants one.
--
-- ks, numbers: of the keys whose number is written; most: the limit of which it wants a share, or 0; part, all_parts: a
-- share is at most the limit divided by the one, and all shares together at most the limit divided by the other.
-- Returns the share, the keys of which too many slots are taken for a new share, and the keys that it shares again.
CREATE OR REPLACE FUNCTION {schema}.renew_leases(
    me text, ks text[], numbers integer[], most integer, part integer, all_parts integer, lasts double precision,
    OUT share integer, OUT crowded text[], OUT regained text[]
) LANGUAGE plpgsql {replan} AS $$
DECLARE
    ends timestamptz := clock_timestamp() + lasts * interval '1 second';
    is_new boolean;
BEGIN
    PERFORM {schema}.take_leases_turn();
    share := {schema}.find_share(me);
    is_new := share = 0;
    crowded := '{}';
    regained := '{}';
    IF is_new AND most > 0 THEN
        SELECT greatest(0, least(most / part, most / all_parts - coalesce(sum(size), 0))) INTO share
            FROM {schema}.shares WHERE until >= clock_timestamp() AND holder <> me;
        IF share > 0 THEN
            INSERT INTO {schema}.shares VALUES (me, share, ends)
                ON CONFLICT (holder) DO UPDATE SET size = excluded.size, until = excluded.until;
            SELECT coalesce(array_agg(c.key), '{}') INTO crowded FROM (
                SELECT h.key FROM {schema}.holds AS h WHERE h.until >= clock_timestamp() GROUP BY h.key
                HAVING sum(h.slots) + (SELECT coalesce(sum(size), 0) FROM {schema}.shares
                                       WHERE until >= clock_timestamp()) > most
            ) AS c;
        END IF;
    END IF;
    DELETE FROM {schema}.holds WHERE holder = me OR until < clock_timestamp();
    DELETE FROM {schema}.shares WHERE until < clock_timestamp();
    -- Rows that were written while the clock was ahead would outlive their process.
    UPDATE {schema}.holds SET until = ends WHERE until > ends;
    UPDATE {schema}.shares SET until = ends WHERE until > ends;
    SELECT coalesce(array_agg(k.key), '{}') INTO regained FROM unnest(ks, numbers) AS k (key, number)
        WHERE share > 0 AND k.number = 0
        AND (SELECT c.others + c.shared FROM {schema}.count_others(k.key, me) AS c) + share <= most;
    INSERT INTO {schema}.holds
        SELECT k.key, me, max(k.number), ends FROM (
            SELECT * FROM unnest(ks, numbers) UNION ALL SELECT c, 0 FROM unnest(crowded) AS c
        ) AS k (key, number)
        WHERE k.key <> ALL (regained) AND (k.number > 0 OR share > 0) GROUP BY k.key;
    DELETE FROM {schema}.oldest AS o
        WHERE NOT EXISTS (SELECT FROM {schema}.holds AS h WHERE h.key = o.key AND h.holder = o.holder);
    UPDATE {schema}.oldest SET since = extract(epoch FROM clock_timestamp()) WHERE since > extract(epoch FROM clock_timestamp());
END $$;

-- Writes since when a process has had its oldest slot; NULL if it has none.
CREATE OR REPLACE FUNCTION {schema}.set_oldest(k text, me text, since_when double precision) RETURNS void
LANGUAGE plpgsql {replan} AS $$
BEGIN
    PERFORM {schema}.take_leases_turn();
    IF since_when IS NULL THEN
        DELETE FROM {schema}.oldest WHERE key = k AND holder = me;
    ELSE
        INSERT INTO {schema}.oldest VALUES (k, me, since_when)
            ON CONFLICT (key, holder) DO UPDATE SET since = excluded.since;
    END IF;
END $$;

-- The processes that have slots under a key, the one with the oldest slot first.
CREATE OR REPLACE FUNCTION {schema}.list_holders(k text) RETURNS text[] LANGUAGE sql STABLE {replan} AS $$
    SELECT coalesce(array_agg(h.holder ORDER BY coalesce(o.since, 0)), '{}')
    FROM {schema}.holds AS h LEFT JOIN {schema}.oldest AS o USING (key, holder)
    WHERE h.key = k AND h.until >= clock_timestamp() AND h.slots > 0
$$;
