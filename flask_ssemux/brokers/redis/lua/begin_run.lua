-- Writes the record of a new run, and takes its lease; removes records that are no longer kept.
--
-- ARGV     process, milliseconds that a lease lasts, the run's id, its details
-- returns  epoch, sequence, fence

local holder, lasts, id, details = unpack(ARGV, own + 1, own + 4)
local STEP = 20  -- records that are removed at a time

allow_writes()
for _, old in ipairs(redis.call('ZRANGEBYSCORE', base .. 'runs', '-inf', text(now), 'LIMIT', 0, STEP)) do
  redis.call('DEL', base .. 'run:' .. old, work_key(RUN .. old))
  redis.call('ZREM', base .. 'runs', old)
end
redis.call('HMSET', base .. 'run:' .. id, 'state', RUNNING, 'details', details, 'cancelled', '0')
keep_run(id)
return {epoch, text(sequence), take_lease(RUN .. id, holder, tonumber(lasts))}
