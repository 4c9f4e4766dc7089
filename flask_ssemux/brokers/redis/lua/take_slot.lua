-- Takes a slot, of those that all processes share under a key.
--
-- ARGV     key, process, slots that the process then has under the key, and under all keys; the limit of all processes,
--          seconds that a lease lasts
-- returns  epoch, sequence, 1 if the slot was taken, 0 if all are taken, 2 if one may be left of the shares of others;
--          and the processes that have slots or shares if it was not taken

local key, holder, slots, total, limit, lasts = unpack(ARGV, own + 1, own + 6)
slots, limit, lasts = tonumber(slots), tonumber(limit), tonumber(lasts)

allow_writes()
local taken, shared, holders = count_others(key, holder, lasts)
if taken + shared + slots > limit then
  if has_share(holder) then
    write_slots(key, holder, slots - 1, lasts)  -- it has no share of this key any more
  end
  return {epoch, text(sequence), taken + slots > limit and 0 or 2, holders}
end
write_slots(key, holder, slots, lasts)
redis.call('HSET', base .. 'holders', holder, total .. ' ' .. text(seconds + lasts))
if 2 * (taken + slots) > limit then
  redis.call('HSET', base .. 'crowded', key, '1')
end
return {epoch, text(sequence), 1, {}}
