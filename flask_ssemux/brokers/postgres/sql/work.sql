-- Work: leases with fences, events that only the holder of a lease appends, and records of runs.

CREATE OR REPLACE FUNCTION {schema}.take_works_turn() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', '1900ms', true);
    LOCK TABLE {schema}.works_turn IN SHARE UPDATE EXCLUSIVE MODE;
END $$;

-- Gives the lease of a name to a process, with a fence that is greater than all earlier ones and not behind the clock.
CREATE OR REPLACE FUNCTION {schema}.give_lease(its_name text, me text, lasts double precision) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    new_fence bigint := nextval('{schema}.fences');
    now bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);  -- a crash must not take a lease on which its holder counts
    IF new_fence < now THEN
        new_fence := now;
        PERFORM setval('{schema}.fences', now);
    END IF;
    INSERT INTO {schema}.works VALUES (its_name, new_fence, me, clock_timestamp() + lasts * interval '1 second')
        ON CONFLICT (name) DO UPDATE SET fence = excluded.fence, holder = excluded.holder, until = excluded.until,
            batch = 0, epoch = '', last = 0;
    RETURN new_fence;
END $$;

-- Takes the leases of these names that no other living process holds; forgotten: seconds after which a lease that has
-- expired is deleted; dead: processes that have ended. Returns each name, with the new fence, or 0 and the holder.
CREATE OR REPLACE FUNCTION {schema}.take_work(
    me text, names text[], lasts double precision, forgotten double precision, dead text[]
) RETURNS TABLE (name text, fence bigint, holder text) LANGUAGE plpgsql {replan} AS $$
#variable_conflict use_column
DECLARE
    wanted text;
    other text;
    ends timestamptz;
BEGIN
    PERFORM {schema}.take_works_turn();
    ends := clock_timestamp() + lasts * interval '1 second';
    -- A time far in the future is of a clock that was ahead.
    UPDATE {schema}.works SET until = ends WHERE until > ends;
    DELETE FROM {schema}.works AS w WHERE w.until < clock_timestamp() - forgotten * interval '1 second'
        AND NOT starts_with(w.name, 'run:');
    FOREACH wanted IN ARRAY names LOOP
        SELECT w.holder INTO other FROM {schema}.works AS w WHERE w.name = wanted AND w.holder NOT IN (me, '')
            AND w.until >= clock_timestamp() AND w.holder <> ALL (dead);
        IF other IS NULL THEN
            RETURN QUERY SELECT wanted, {schema}.give_lease(wanted, me, lasts), me;
        ELSE
            RETURN QUERY SELECT wanted, 0::bigint, other;
        END IF;
    END LOOP;
END $$;

-- Renews leases of a process, and writes what it wants. Returns rows of a kind: 'held' and 'cancelled', with the fence;
-- 'wanted' and 'busy', with a holder.
CREATE OR REPLACE FUNCTION {schema}.keep_work(
    me text, names text[], fences bigint[], wanted text[], watched text[], lasts double precision
) RETURNS TABLE (kind text, name text, fence bigint, holder text) LANGUAGE plpgsql {replan} AS $$
#variable_conflict use_column
DECLARE
    ends timestamptz;
BEGIN
    -- a crash must not take a renewal on which its holder counts
    PERFORM set_config('synchronous_commit', CASE WHEN cardinality(names) > 0 THEN 'on' ELSE 'off' END, true);
    PERFORM {schema}.take_works_turn();
    ends := clock_timestamp() + lasts * interval '1 second';
    UPDATE {schema}.works AS w SET until = ends, holder = me FROM unnest(names, fences) AS l (name, fence)
        WHERE w.name = l.name AND w.fence = l.fence;
    UPDATE {schema}.runs AS r SET until = clock_timestamp() + s.seconds * interval '1 second'
        FROM {schema}.state AS s, unnest(names, fences) AS l (name, fence)
        JOIN {schema}.works AS w ON w.name = l.name AND w.fence = l.fence
        WHERE l.name = 'run:' || r.id AND r.until < clock_timestamp() + (s.seconds - 1) * interval '1 second';
    DELETE FROM {schema}.wants AS w WHERE (w.holder = me AND w.name <> ALL (wanted)) OR w.until < clock_timestamp()
        OR w.until > ends;
    INSERT INTO {schema}.wants SELECT DISTINCT n, me, ends FROM unnest(wanted) AS n
        ON CONFLICT (name, holder) DO UPDATE SET until = excluded.until;
    RETURN QUERY SELECT 'held'::text, w.name, w.fence, me FROM unnest(names, fences) AS l (name, fence)
        JOIN {schema}.works AS w ON w.name = l.name AND w.fence = l.fence;
    RETURN QUERY SELECT 'cancelled'::text, w.name, w.fence, me FROM unnest(names, fences) AS l (name, fence)
        JOIN {schema}.works AS w ON w.name = l.name AND w.fence = l.fence
        JOIN {schema}.runs AS r ON w.name = 'run:' || r.id AND r.is_cancelled;
    RETURN QUERY SELECT 'wanted'::text, w.name, 0::bigint, w.holder FROM {schema}.wants AS w
        WHERE w.name = ANY (names) AND w.until >= clock_timestamp();
    RETURN QUERY SELECT 'busy'::text, w.name, 0::bigint, w.holder FROM {schema}.works AS w
        WHERE w.name = ANY (wanted || watched) AND w.holder <> '' AND w.until >= clock_timestamp();
END $$;

CREATE OR REPLACE FUNCTION {schema}.release_work(names text[], fences bigint[]) RETURNS void LANGUAGE plpgsql {replan} AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM {schema}.take_works_turn();
    UPDATE {schema}.works AS w SET holder = '', until = 'epoch' FROM unnest(names, fences) AS l (name, fence)
        WHERE w.name = l.name AND w.fence = l.fence AND starts_with(w.name, 'run:');
    DELETE FROM {schema}.works AS w USING unnest(names, fences) AS l (name, fence)
        WHERE w.name = l.name AND w.fence = l.fence AND NOT starts_with(w.name, 'run:');
END $$;

CREATE OR REPLACE FUNCTION {schema}.remove_work(me text) RETURNS void LANGUAGE plpgsql {replan} AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM {schema}.take_works_turn();
    UPDATE {schema}.works SET holder = '', until = 'epoch' WHERE holder = me AND starts_with(name, 'run:');
    DELETE FROM {schema}.works WHERE holder = me;
    DELETE FROM {schema}.wants WHERE holder = me;
END $$;

-- Whether a batch may be appended. It ends the run, if the batch does.
CREATE OR REPLACE FUNCTION {schema}.may_append(its_name text, its_fence bigint, end_state text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.works AS w WHERE w.name = its_name AND w.fence = its_fence) THEN
        RETURN false;
    END IF;
    IF end_state IS NULL THEN
        RETURN true;
    END IF;
    UPDATE {schema}.runs AS r SET state = end_state, until = clock_timestamp() + s.seconds * interval '1 second'
        FROM {schema}.state AS s WHERE r.id = substr(its_name, 5) AND r.state = 'running';
    IF FOUND THEN
        UPDATE {schema}.works AS w SET fence = -w.fence, holder = '', until = 'epoch' WHERE w.name = its_name;
        RETURN true;
    END IF;
    RETURN false;
END $$;

-- Appends the events of leases that still hold.
--
-- work_names, fences, ends, counts, numbers: of each batch its lease, the state with which its run ends or NULL, how many
-- events it has, and its number; the others are those of append_events. Returns of each batch the cursor of its last
-- event, with '' as the epoch if nothing was appended; and whether it was appended by an earlier call.
CREATE OR REPLACE FUNCTION {schema}.append_work(
    work_names text[], fences bigint[], ends text[], counts integer[], numbers integer[],
    names text[], bodies bytea[], keys text[], own_events integer, commit_mode text,
    OUT over text[], OUT epochs text[], OUT lasts bigint[], OUT repeated integer[]
) LANGUAGE plpgsql {plan} AS $$
DECLARE
    start integer := 0;
    its_names text[] := '{}';
    its_bodies bytea[] := '{}';
    its_keys text[] := '{}';
    its_last bigint;
    left_over integer := 0;
    known record;
    added record;
BEGIN
    IF commit_mode <> '' THEN
        PERFORM set_config('synchronous_commit', commit_mode, true);
    END IF;
    PERFORM {schema}.take_turn();
    PERFORM {schema}.take_works_turn();
    FOR i IN 1 .. array_length(work_names, 1) LOOP
        SELECT w.epoch, w.last INTO known FROM {schema}.works AS w
            WHERE w.name = work_names[i] AND abs(w.fence) = fences[i] AND numbers[i] > 0 AND w.batch = numbers[i];
        repeated[i] := FOUND::integer;
        epochs[i] := '';
        lasts[i] := 0;
        IF repeated[i] = 1 THEN
            epochs[i] := known.epoch;
            lasts[i] := known.last;
        ELSIF {schema}.may_append(work_names[i], fences[i], ends[i]) THEN
            epochs[i] := NULL;  -- until it is appended
            its_names := its_names || names[start + 1 : start + counts[i]];
            its_bodies := its_bodies || bodies[start + 1 : start + counts[i]];
            its_keys := its_keys || keys[start + 1 : start + counts[i]];
        END IF;
        start := start + counts[i];
    END LOOP;
    IF array_length(its_names, 1) > 0 THEN
        added := {schema}.add_events(its_names, its_bodies, its_keys, own_events);
        over := added.over;
        its_last := added.last - array_length(its_names, 1);
        FOR i IN 1 .. array_length(work_names, 1) LOOP
            IF epochs[i] IS NULL THEN
                its_last := its_last + counts[i];
                epochs[i] := added.epoch;
                lasts[i] := its_last;
                IF numbers[i] > 0 THEN
                    UPDATE {schema}.works AS w SET batch = numbers[i], epoch = added.epoch, last = its_last
                        WHERE w.name = work_names[i];
                END IF;
            END IF;
        END LOOP;
    END IF;
END $$;

-- Writes the record of a run, if there is none. Deletes records that are no longer kept.
CREATE OR REPLACE FUNCTION {schema}.plan_run(run_id text, its_details text) RETURNS void LANGUAGE plpgsql {replan} AS $$
DECLARE
    now timestamptz;
    ends timestamptz;
    its_epoch text;
BEGIN
    PERFORM {schema}.take_works_turn();
    now := clock_timestamp();
    SELECT now + seconds * interval '1 second', epoch INTO ends, its_epoch FROM {schema}.state;
    UPDATE {schema}.runs SET until = ends WHERE until > ends;  -- of a clock that was ahead
    DELETE FROM {schema}.works AS w WHERE w.name = ANY (ARRAY(
        SELECT 'run:' || r.id FROM {schema}.runs AS r WHERE r.until < now
    ));
    DELETE FROM {schema}.runs WHERE until < now;
    INSERT INTO {schema}.runs
        VALUES (run_id, 'waiting', its_details, its_epoch || '-' || {schema}.find_newest(), false, ends)
        ON CONFLICT (id) DO NOTHING;
END $$;

-- Begins a run, whose record is written if there is none; takes its lease and returns the fence.
CREATE OR REPLACE FUNCTION {schema}.begin_run(run_id text, me text, its_details text, lasts double precision)
RETURNS bigint LANGUAGE plpgsql {replan} AS $$
BEGIN
    PERFORM {schema}.plan_run(run_id, its_details);
    UPDATE {schema}.runs SET state = 'running' WHERE id = run_id;
    RETURN {schema}.give_lease('run:' || run_id, me, lasts);
END $$;

-- Returns of each run what is stored of it, the holder of its lease if that has not expired, and the fence.
CREATE OR REPLACE FUNCTION {schema}.read_runs(ids text[])
RETURNS TABLE (
    id text, state text, details text, begin text, is_cancelled boolean, holder text, fence bigint
) LANGUAGE sql STABLE {replan} AS $$
    SELECT r.id, r.state, r.details, r.begin, r.is_cancelled,
        CASE WHEN w.until >= clock_timestamp() THEN w.holder ELSE '' END, greatest(coalesce(w.fence, 0), 0)
    FROM {schema}.runs AS r LEFT JOIN {schema}.works AS w ON w.name = 'run:' || r.id WHERE r.id = ANY (ids)
$$;

-- Returns the runs that have not ended, and the holder of each one's lease; '' if there is none, or it has expired.
CREATE OR REPLACE FUNCTION {schema}.list_running() RETURNS TABLE (id text, holder text) LANGUAGE sql STABLE {replan} AS $$
    SELECT r.id, CASE WHEN w.until >= clock_timestamp() THEN w.holder ELSE '' END
    FROM {schema}.runs AS r LEFT JOIN {schema}.works AS w ON w.name = 'run:' || r.id WHERE r.state = 'running'
$$;

CREATE OR REPLACE FUNCTION {schema}.cancel_run(run_id text) RETURNS boolean LANGUAGE plpgsql {replan} AS $$
BEGIN
    UPDATE {schema}.runs SET is_cancelled = true WHERE id = run_id AND state IN ('waiting', 'running');
    RETURN FOUND;
END $$;
