-- Returns the records of runs.
--
-- ARGV     ids
-- returns  epoch, sequence, and in one list of each run that there is: id, state, details, '1' if it was cancelled, fence,
--          holder ('' if there is none)

local rows = {}
for index = own + 1, #ARGV do
  local id = ARGV[index]
  local run_state, details, cancelled = unpack(redis.call('HMGET', base .. 'run:' .. id, 'state', 'details', 'cancelled'))
  if run_state then
    local fence, expires, holder = read_lease(RUN .. id)
    for _, value in ipairs({id, run_state, details, cancelled, fence, expires >= now and holder or ''}) do
      rows[#rows + 1] = value
    end
  end
end
return {epoch, text(sequence), rows}
