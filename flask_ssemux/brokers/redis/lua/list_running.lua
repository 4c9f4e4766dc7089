-- Returns the runs that are running: epoch, sequence, and in one list id, holder ('' if there is none) ...

local rows = {}
for _, id in ipairs(redis.call('ZRANGE', base .. 'running', 0, -1)) do
  local lease = read_lease(RUN .. id)
  rows[#rows + 1] = id
  rows[#rows + 1] = lease.expires >= now and lease.holder or ''
end
return {epoch, text(sequence), rows}
