-- Writes the record of a new run, or of one that was planned, and takes its lease.
--
-- ARGV     process, milliseconds that a lease lasts, the run's id, its details
-- returns  epoch, sequence, fence

local holder, lasts, id, details = unpack(ARGV, own + 1, own + 4)

allow_writes()
add_run(id, details)
redis.call('HSET', base .. 'run:' .. id, 'state', RUNNING)
redis.call('ZADD', base .. 'running', '0', id)
return {epoch, text(sequence), take_lease(RUN .. id, holder, tonumber(lasts))}
