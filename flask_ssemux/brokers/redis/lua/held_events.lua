-- Stands between `work.lua` and `append_events.lua`: only events of leases that were not taken by others are appended.
--
-- ARGV     as for `append_events.lua`, but the events come after: the number of batches; of each batch the name and the
--          fence of its lease, the state with which its run ends ('' if it does not), its number, how many events it has
-- returns  epoch, sequence of the last event, and a text of a word for each batch: 1 if it was appended, 0 if not, and
--          =<sequence of its last event> if it had been appended before
--
-- Defines what `all_events.lua` defines.

local input, first, verdict, appended = {}, 1, '', {}

local function judge(name, fence, ending, number)
  local lease, run = read_lease(name), base .. 'run:' .. (get_run(name) or '')
  local state_of_run, ended = unpack(ending ~= '' and redis.call('HMGET', run, 'state', 'ended') or {})
  local last = string.match(ended or '', '^' .. fence .. ' ' .. number .. ' (%d+)$')
  if number ~= '0' and lease.fence == fence and lease.number == number then
    last = lease.last
  end
  if number ~= '0' and last then
    return '=' .. last
  end
  return lease.fence == fence and (ending == '' or state_of_run == RUNNING) and '1' or '0'
end

do
  local batches = tonumber(ARGV[own + 6])
  local at = own + 7 + 5 * batches
  for index = own + 7, own + 6 + 5 * batches, 5 do
    local name, fence, ending, number, count = unpack(ARGV, index, index + 4)
    local word = judge(name, fence, ending, number)
    verdict = verdict .. word .. ' '
    if word == '1' then
      for value = at, at + 3 * tonumber(count) - 1 do
        input[#input + 1] = ARGV[value]
      end
      appended[#appended + 1] = {name = name, fence = fence, ending = ending, number = number, events = #input / 3}
    end
    at = at + 3 * tonumber(count)
  end
end

local function finish()
  for _, batch in ipairs(appended) do
    local last, id = text(sequence - #input / 3 + batch.events), get_run(batch.name)
    if batch.ending ~= '' then
      local ended = batch.fence .. ' ' .. batch.number .. ' ' .. last
      redis.call('HMSET', base .. 'run:' .. id, 'state', batch.ending, 'ended', ended)
      redis.call('DEL', work_key(batch.name))
      redis.call('ZREM', base .. 'running', id)
      keep_run(id)
    elseif batch.number ~= '0' then
      local lease = read_lease(batch.name)
      lease.number, lease.last = batch.number, last
      write_lease(batch.name, lease)
    end
  end
end
