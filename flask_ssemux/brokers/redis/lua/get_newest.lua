-- Returns the newest sequence and the state of the store, and the latest events of some channels.
--
-- ARGV     channels ...
-- returns  epoch, sequence, run_id of the server, the sequence at which the epoch began, voids, and in one list the
--          channel's number, sequence, body, key of each latest event

local rows = {}
for index = own + 1, #ARGV do
  local kept = redis.call('HGETALL', latest_key(ARGV[index]))
  for at = 1, #kept, 2 do
    local id = kept[at + 1] .. '-0'
    local entry = redis.call('XRANGE', stream_key(ARGV[index]), id, id)[1]
    if entry and tonumber(kept[at + 1]) > find_floor(ARGV[index]) then
      rows[#rows + 1] = index - own - 1
      rows[#rows + 1] = kept[at + 1]
      rows[#rows + 1] = entry[2][2]
      rows[#rows + 1] = kept[at]
    end
  end
end
return {epoch, text(sequence), run, redis.call('HGET', KEYS[1], 'born') or '0', voids, rows}
