-- Keeps how many streams a process has, by channel and user; and forgets, a few at a time, what others said for too long.
--
-- ARGV     holder, milliseconds that it counts, whether to forget first all that it said ('1'),
--          then channel, user, streams ...; of 0 milliseconds: it is no more
-- returns  epoch, sequence, whether what it said before was still there

local FORGET = 1000

local holder, lasts, anew = ARGV[own + 1], tonumber(ARGV[own + 2]), ARGV[own + 3] == '1'
local present = base .. 'present'
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function forget(name, most)
  local said = redis.call('SMEMBERS', base .. 'q:' .. name)
  for index = 1, math.min(most, #said) do
    local channel, user = string.match(said[index], '^([^\n]*)\n(.*)$')
    redis.call('HDEL', base .. 'p:' .. channel, name .. ' ' .. user)
    redis.call('SREM', base .. 'q:' .. name, said[index])
  end
  if #said <= most then
    redis.call('HDEL', present, name)
  end
end

local known, there = redis.call('HGETALL', present), false
for index = 1, #known, 2 do
  local till, server = string.match(known[index + 1], '^(%d+) (.*)$')
  if known[index] == holder then
    -- Of what it said to a server that has been restarted, some may be lost.
    there = tonumber(till) > now and server == run
    anew = anew or tonumber(till) <= now
  elseif tonumber(till) <= now then
    forget(known[index], FORGET)
  end
end
if anew then
  forget(holder, math.huge)
end
if lasts > 0 then
  redis.call('HSET', present, holder, text(now + lasts) .. ' ' .. run)
end
for index = own + 4, #ARGV, 3 do
  local channel, user, streams = unpack(ARGV, index, index + 2)
  local said = channel .. '\n' .. user
  if streams == '0' then
    redis.call('HDEL', base .. 'p:' .. channel, holder .. ' ' .. user)
    redis.call('SREM', base .. 'q:' .. holder, said)
  else
    redis.call('HSET', base .. 'p:' .. channel, holder .. ' ' .. user, streams)
    redis.call('SADD', base .. 'q:' .. holder, said)
  end
end
return {epoch, text(sequence), there and 1 or 0}
