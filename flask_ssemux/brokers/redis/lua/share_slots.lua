-- Gives a process a share of every key's slots, or renews it.
--
-- ARGV     process, the limit of all processes ("0": it gives its share up; "": it only renews it), the parts of the
--          limit that one process and all processes may have, seconds that a lease lasts
-- returns  epoch, sequence, the share (0: it has none), and the keys of which a new share has no slots

local holder, limit, one, all, lasts = unpack(ARGV, own + 1, own + 5)
local shares, lasts = base .. 'shares', tonumber(lasts)

allow_writes()
if limit == '0' then
  redis.call('HDEL', shares, holder)
  return {epoch, text(sequence), 0, {}}
end
local others, size = 0, 0
for name, count in pairs(list_living(shares, lasts)) do
  if name == holder then
    size = count
  else
    others = others + count
  end
end
local is_new = size == 0 and limit ~= ''
if is_new then
  limit = tonumber(limit)
  size = math.max(0, math.min(math.floor(limit / tonumber(one)), math.floor(limit / tonumber(all)) - others))
end
if size == 0 then
  return {epoch, text(sequence), 0, {}}
end
redis.call('HSET', shares, holder, text(size) .. ' ' .. text(seconds + lasts))

local crowded = {}
for _, key in ipairs(is_new and redis.call('HKEYS', base .. 'crowded') or {}) do
  local held = list_living(base .. 'h:' .. key, lasts)
  local taken = 0
  for _, count in pairs(held) do
    taken = taken + count
  end
  if 2 * taken <= limit then
    redis.call('HDEL', base .. 'crowded', key)
  elseif taken + others + size > limit then
    write_slots(key, holder, held[holder] or 0, lasts)
    crowded[#crowded + 1] = key
  end
end
return {epoch, text(sequence), size, crowded}
