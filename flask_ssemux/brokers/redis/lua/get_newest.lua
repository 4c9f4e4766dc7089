-- The place of the newest event, which server says so, the place at which this life began, its voids; and, of the
-- channels that are named, the events that are the latest with their key.
--
-- ARGV  channels ...

local rows = {}
for index = own + 1, #ARGV do
  local kept = redis.call('HGETALL', latest_of(ARGV[index]))
  for at = 1, #kept, 2 do
    local id = kept[at + 1] .. '-0'
    local entry = redis.call('XRANGE', stream_of(ARGV[index]), id, id)[1]
    if entry and tonumber(kept[at + 1]) > floor_of(ARGV[index]) then
      rows[#rows + 1] = index - own - 1
      rows[#rows + 1] = kept[at + 1]
      rows[#rows + 1] = entry[2][2]
      rows[#rows + 1] = kept[at]
    end
  end
end
return {epoch, text(sequence), run, redis.call('HGET', KEYS[1], 'born') or '0', voids, rows}
