-- Stands between `work.lua` and `append_events.lua`: only events of leases that were not taken by others are appended.
--
-- ARGV     as for `append_events.lua`, but the events come after: the number of batches; of each batch the name and the
--          fence of its lease, the state with which its run ends ('' if it does not), and how many events it has
-- returns  epoch, sequence of the last event, and of each batch 1 if it was appended and 0 if not, as one text
--
-- Defines what `all_events.lua` defines.

local input, first, verdict, ends = {}, 1, '', {}

local function may_append(name, fence, ending)
  if read_lease(name) ~= fence then
    return false
  end
  return ending == '' or redis.call('HGET', base .. 'run:' .. (get_run(name) or ''), 'state') == RUNNING
end

do
  local batches = tonumber(ARGV[own + 6])
  local at = own + 7 + 4 * batches
  for index = own + 7, own + 6 + 4 * batches, 4 do
    local name, ending, count = ARGV[index], ARGV[index + 2], 3 * tonumber(ARGV[index + 3])
    if may_append(name, ARGV[index + 1], ending) then
      verdict = verdict .. '1'
      for value = at, at + count - 1 do
        input[#input + 1] = ARGV[value]
      end
      if ending ~= '' then
        ends[#ends + 1] = {name = name, state = ending}
      end
    else
      verdict = verdict .. '0'
    end
    at = at + count
  end
end

local function finish()
  for _, ended in ipairs(ends) do
    local id = get_run(ended.name)
    redis.call('HSET', base .. 'run:' .. id, 'state', ended.state)
    redis.call('DEL', work_key(ended.name))
    keep_run(id)
  end
end
