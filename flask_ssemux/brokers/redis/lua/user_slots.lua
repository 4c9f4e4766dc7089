-- The slots of users: which process has how many. The part that several scripts have in common.
--
-- Keys     h:<key>  hash, process -> "slots until"
--          shares   hash, process -> "slots until": slots of every key that the process may take and is not in h:<key>
--          crowded  hash, key -> "1": keys of which more slots were taken than shares leave; some are too many

local seconds = tonumber(redis.call('TIME')[1])

-- Returns the living processes of a hash, and their slots. Removes expired ones, and corrects those that were written
-- while the clock was ahead.
local function list_living(hash, lasts)
  local found, held = {}, redis.call('HGETALL', hash)
  for index = 1, #held, 2 do
    local count, expires = string.match(held[index + 1], '^(%d+) (%d+)$')
    if tonumber(expires) > seconds + 2 * lasts then
      redis.call('HSET', hash, held[index], count .. ' ' .. text(seconds + lasts))
    end
    if tonumber(expires) < seconds then
      redis.call('HDEL', hash, held[index])
    else
      found[held[index]] = tonumber(count)
    end
  end
  return found
end

-- Returns how many slots of a key other processes have, the shares of those that have none written, and all of them.
local function count_others(key, holder, lasts)
  local taken, shared, holders = 0, 0, {}
  local held = list_living(base .. 'h:' .. key, lasts)
  for name, count in pairs(held) do
    if name ~= holder then
      taken = taken + count
      holders[#holders + 1] = name
    end
  end
  for name, size in pairs(list_living(base .. 'shares', lasts)) do
    if name ~= holder and not held[name] then
      shared = shared + size
      holders[#holders + 1] = name
    end
  end
  return taken, shared, holders
end

local function has_share(holder)
  return redis.call('HEXISTS', base .. 'shares', holder) == 1
end

local function write_slots(key, holder, slots, lasts)
  local hash = base .. 'h:' .. key
  if slots == 0 and not has_share(holder) then
    redis.call('HDEL', hash, holder)
  else
    redis.call('HSET', hash, holder, text(slots) .. ' ' .. text(seconds + lasts))
    redis.call('EXPIRE', hash, 2 * lasts)
  end
end
