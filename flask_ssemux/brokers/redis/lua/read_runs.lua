-- Returns the records of runs.
--
-- ARGV     ids
-- returns  epoch, sequence, and in one list of each run that there is: id, state, details, begin, '1' if it was cancelled,
--          fence, holder ('' if there is none)

local rows = {}
for index = own + 1, #ARGV do
  local id = ARGV[index]
  local record = redis.call('HMGET', base .. 'run:' .. id, 'state', 'details', 'begin', 'cancelled')
  if record[1] then
    local lease = read_lease(RUN .. id)
    rows[#rows + 1] = id
    for _, value in ipairs(record) do
      rows[#rows + 1] = value
    end
    rows[#rows + 1] = lease.fence
    rows[#rows + 1] = lease.expires >= now and lease.holder or ''
  end
end
return {epoch, text(sequence), rows}
