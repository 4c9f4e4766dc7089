-- Presence and rosters: each change is one short transaction, which takes its turn.

CREATE OR REPLACE FUNCTION {schema}.take_presence_turn() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', '1900ms', true);
    LOCK TABLE {schema}.presence_turn IN SHARE UPDATE EXCLUSIVE MODE;
END $$;

-- Deletes what processes announced. Their users may be away from now on.
CREATE OR REPLACE FUNCTION {schema}.delete_presence(who text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {schema}.roster AS r SET due = clock_timestamp() + r.grace * interval '1 second'
        FROM (SELECT DISTINCT channel, member FROM {schema}.presence WHERE holder = ANY (who)) AS p
        WHERE r.change <> 'leave' AND r.channel = p.channel AND r.member = p.member;
    DELETE FROM {schema}.presence WHERE holder = ANY (who);
    DELETE FROM {schema}.present WHERE holder = ANY (who);
END $$;

CREATE OR REPLACE FUNCTION {schema}.remove_presence(who text[]) RETURNS void LANGUAGE plpgsql {replan} AS $$
BEGIN
    PERFORM {schema}.take_presence_turn();
    PERFORM {schema}.delete_presence(who);
END $$;

-- Writes the streams of a process. Returns whether its earlier counts were there, and all other processes.
CREATE OR REPLACE FUNCTION {schema}.announce_presence(
    me text, lasts double precision, replace_all boolean, channels text[], members text[], counts integer[],
    OUT was_there boolean, OUT others text[]
) LANGUAGE plpgsql {replan} AS $$
DECLARE
    now timestamptz := clock_timestamp();
    ends timestamptz;
    expired text[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM {schema}.take_presence_turn();
    ends := now + lasts * interval '1 second';
    -- A time far in the future is of a clock that was ahead.
    UPDATE {schema}.present SET until = ends WHERE until > ends + interval '1 day';
    SELECT array_agg(holder) INTO expired FROM {schema}.present WHERE until <= now;
    IF expired IS NOT NULL THEN
        PERFORM {schema}.delete_presence(expired);
    END IF;
    was_there := EXISTS (SELECT FROM {schema}.present WHERE holder = me);
    IF replace_all THEN
        PERFORM {schema}.delete_presence(ARRAY[me]);
    END IF;
    INSERT INTO {schema}.present VALUES (me, ends) ON CONFLICT (holder) DO UPDATE SET until = excluded.until;
    UPDATE {schema}.roster AS r SET due = now + r.grace * interval '1 second'
        FROM unnest(channels, members, counts) AS c (channel, member, streams)
        JOIN {schema}.presence AS p ON p.channel = c.channel AND p.member = c.member AND p.holder = me
        WHERE c.streams = 0 AND r.change <> 'leave' AND r.channel = c.channel AND r.member = c.member;
    DELETE FROM {schema}.presence AS p USING unnest(channels, members, counts) AS c (channel, member, streams)
        WHERE c.streams = 0 AND p.channel = c.channel AND p.member = c.member AND p.holder = me;
    INSERT INTO {schema}.presence
        SELECT c.channel, c.member, me, c.streams FROM unnest(channels, members, counts) AS c (channel, member, streams)
        WHERE c.streams <> 0
        ON CONFLICT (channel, member, holder) DO UPDATE SET streams = excluded.streams;
    SELECT coalesce(array_agg(holder), '{}') INTO others FROM {schema}.present WHERE holder <> me;
END $$;

CREATE OR REPLACE FUNCTION {schema}.get_presence(name text) RETURNS TABLE (holder text, member text, streams integer)
LANGUAGE sql STABLE {replan} AS $$
    SELECT p.holder, p.member, p.streams FROM {schema}.presence AS p JOIN {schema}.present AS n USING (holder)
    WHERE p.channel = name AND n.until > clock_timestamp()
$$;

CREATE OR REPLACE FUNCTION {schema}.is_present(name text, who text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM {schema}.presence AS p JOIN {schema}.present AS n USING (holder)
        WHERE p.channel = name AND p.member = who AND n.until > clock_timestamp())
$$;

-- Takes the changes that were announced, puts users on the roster, and returns the changes that this process has to
-- announce; and in the last row, as its channel, in how many seconds there may be another leave.
CREATE OR REPLACE FUNCTION {schema}.update_roster(
    me text, claim double precision, longest double precision, most integer,
    a_kinds text[], a_channels text[], a_members text[], p_channels text[], p_members text[], p_graces double precision[]
) RETURNS TABLE (kind text, channel text, member text) LANGUAGE plpgsql {replan} AS $$
#variable_conflict use_column
DECLARE
    now timestamptz := clock_timestamp();
    it record;
    is_here boolean;
BEGIN
    PERFORM {schema}.take_presence_turn();
    -- A join that was announced is over.
    UPDATE {schema}.roster AS r SET change = '' FROM unnest(a_kinds, a_channels, a_members) AS a (kind, channel, member)
        WHERE a.kind = 'join' AND r.channel = a.channel AND r.member = a.member AND r.change = 'join' AND r.owner = me;
    -- A leave, too: a user who is back by now joins again.
    FOR it IN SELECT a.channel, a.member FROM unnest(a_kinds, a_channels, a_members) AS a (kind, channel, member)
        WHERE a.kind = 'leave'
    LOOP
        IF {schema}.is_present(it.channel, it.member) THEN
            UPDATE {schema}.roster AS r SET change = 'join', due = NULL
                WHERE r.channel = it.channel AND r.member = it.member AND r.change = 'leave' AND r.owner = me;
        ELSE
            DELETE FROM {schema}.roster AS r
                WHERE r.channel = it.channel AND r.member = it.member AND r.change = 'leave' AND r.owner = me;
        END IF;
    END LOOP;
    UPDATE {schema}.roster AS r SET grace = p.grace, due = NULL
        FROM unnest(p_channels, p_members, p_graces) AS p (channel, member, grace)
        WHERE r.channel = p.channel AND r.member = p.member AND r.change <> 'leave';
    INSERT INTO {schema}.roster
        SELECT p.channel, p.member, p.grace, NULL, 'join', me
        FROM unnest(p_channels, p_members, p_graces) AS p (channel, member, grace)
        ON CONFLICT (channel, member) DO NOTHING;
    -- The leaves of users who are still away, and the changes that another process did not announce.
    FOR it IN SELECT r.channel, r.member, r.change FROM {schema}.roster AS r
        WHERE r.due <= now OR r.due > now + 2 * longest * interval '1 second' LIMIT most
    LOOP
        is_here := {schema}.is_present(it.channel, it.member);
        IF it.change = '' AND is_here THEN
            UPDATE {schema}.roster AS r SET due = NULL WHERE r.channel = it.channel AND r.member = it.member;
        ELSE
            UPDATE {schema}.roster AS r SET owner = me, due = now + claim * interval '1 second',
                change = CASE WHEN it.change = 'join' AND is_here THEN 'join' ELSE 'leave' END
                WHERE r.channel = it.channel AND r.member = it.member;
        END IF;
    END LOOP;
    RETURN QUERY SELECT r.change, r.channel, r.member FROM {schema}.roster AS r
        WHERE r.owner = me AND r.change <> '' LIMIT most;
    RETURN QUERY SELECT ''::text, extract(epoch FROM min(r.due) - now)::text, ''::text
        FROM {schema}.roster AS r WHERE r.due IS NOT NULL;
END $$;

CREATE OR REPLACE FUNCTION {schema}.get_roster(name text) RETURNS TABLE (member text) LANGUAGE sql STABLE {replan} AS $$
    SELECT r.member FROM {schema}.roster AS r WHERE r.channel = name AND r.change <> 'leave'
$$;
