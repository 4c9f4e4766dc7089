-- Reports, registered applications, one-time keys, and the figures of the store.

CREATE OR REPLACE FUNCTION {schema}.write_report(me text, text_of_it text, lasts double precision) RETURNS void
LANGUAGE plpgsql {replan} AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- A time in the future is of a clock that was ahead: a process that lives reports again.
    DELETE FROM {schema}.reports WHERE at < clock_timestamp() - lasts * interval '1 second'
        OR at > clock_timestamp() + interval '1 second';
    INSERT INTO {schema}.reports VALUES (me, clock_timestamp(), text_of_it)
        ON CONFLICT (holder) DO UPDATE SET at = excluded.at, figures = excluded.figures;
END $$;

CREATE OR REPLACE FUNCTION {schema}.read_reports(lasts double precision)
RETURNS TABLE (holder text, age double precision, figures text) LANGUAGE sql STABLE AS $$
    SELECT r.holder, extract(epoch FROM clock_timestamp() - r.at)::double precision, r.figures FROM {schema}.reports AS r
    WHERE r.at >= clock_timestamp() - lasts * interval '1 second'
$$;

-- Whether two names are of one application, which may be imported as shop and as services.shop.
CREATE OR REPLACE FUNCTION {schema}.is_same_name(one text, other text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT one = other OR right(one, length(other) + 1) = '.' || other OR right(other, length(one) + 1) = '.' || one
$$;

-- Registers a process, unless a rival is registered; returns all others. dead: their registrations are removed.
CREATE OR REPLACE FUNCTION {schema}.register_application(
    me text, its_name text, its_key text, its_script_name text, lasts double precision, dead text[]
) RETURNS TABLE (holder text, name text, key text, script_name text) LANGUAGE plpgsql {replan} AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM {schema}.take_leases_turn();
    DELETE FROM {schema}.applications AS a WHERE a.holder = me OR a.holder = ANY (dead)
        OR NOT a.at BETWEEN clock_timestamp() - lasts * interval '1 second' AND clock_timestamp() + lasts * interval '1 second';
    IF NOT EXISTS (
        SELECT FROM {schema}.applications AS a
        WHERE (a.script_name <> '' AND its_script_name <> '' AND a.script_name <> its_script_name)
        OR NOT {schema}.is_same_name(a.name, its_name)
    ) THEN
        INSERT INTO {schema}.applications VALUES (me, its_name, its_key, its_script_name, clock_timestamp());
    END IF;
    RETURN QUERY SELECT a.holder, a.name, a.key, a.script_name FROM {schema}.applications AS a WHERE a.holder <> me;
END $$;

CREATE OR REPLACE FUNCTION {schema}.remove_reports(me text) RETURNS void LANGUAGE plpgsql {replan} AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM {schema}.applications WHERE holder = me;
    DELETE FROM {schema}.reports WHERE holder = me;
END $$;

-- Whether this is the first use of the key.
CREATE OR REPLACE FUNCTION {schema}.use_key(k text, lasts double precision) RETURNS boolean LANGUAGE plpgsql {replan} AS $$
DECLARE
    now timestamptz := clock_timestamp();  -- no index is used to compare with the function itself, which is volatile
    changed integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);  -- after a crash the key would count as unused
    DELETE FROM {schema}.claims WHERE key = ANY (ARRAY(
        SELECT c.key FROM {schema}.claims AS c WHERE c.until <= now AND c.key <> k
        ORDER BY c.until LIMIT 100 FOR UPDATE SKIP LOCKED
    ));
    INSERT INTO {schema}.claims AS c VALUES (k, now + lasts * interval '1 second')
        ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE c.until <= now;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed = 1;
END $$;

CREATE OR REPLACE FUNCTION {schema}.get_figures(
    OUT epoch text, OUT newest bigint, OUT events bigint, OUT channels bigint, OUT held bigint, OUT bytes bigint,
    OUT unplaced bigint
) LANGUAGE sql STABLE AS $$
    SELECT s.epoch, {schema}.find_newest(), (SELECT count(*) FROM {schema}.events),
        (SELECT count(DISTINCT channel) FROM {schema}.events),
        (SELECT coalesce(sum(slots), 0)::bigint FROM {schema}.holds WHERE until >= clock_timestamp()),
        pg_total_relation_size('{schema}.events'), (SELECT count(*) FROM {schema}.outbox)
    FROM {schema}.state AS s
$$;
