-- Keeps how many streams a process has, by channel and user; and forgets, a few at a time, what others said for too long.
--
-- ARGV     holder, milliseconds that it counts, whether to forget first all that it said ('1'), a token of this call,
--          then channel, user, streams ...; of 0 milliseconds: it is no more
-- returns  epoch, sequence, whether what it said before was still there

local FORGET = 1000
local AHEAD = 20  -- times that it counts: what says that it counts for longer was said by a clock that was ahead

-- A caller that never got its answer asks again with the same token, and gets the same answer.
local holder, lasts, anew, token = ARGV[own + 1], tonumber(ARGV[own + 2]), ARGV[own + 3] == '1', ARGV[own + 4]
local present = base .. 'present'
make_way()

local function forget(name, most)
  local said = redis.call('SRANDMEMBER', base .. 'q:' .. name, most + 1)
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
  local till, server, said, answer = string.match(known[index + 1], '^(%d+) (%x*) ?(%d*) ?(%d*)$')
  if known[index] == holder then
    -- Of what it said to a server that has been restarted, some may be lost.
    there = tonumber(till) > now and server == run
    if said == token then
      there = answer == '1'
    end
    anew = anew or tonumber(till) <= now
  elseif tonumber(till) <= now or lasts > 0 and tonumber(till) > now + AHEAD * lasts then
    forget(known[index], FORGET)
  end
end
if anew then
  forget(holder, 1000000)
end
if lasts > 0 then
  redis.call('HSET', present, holder, text(now + lasts) .. ' ' .. run .. ' ' .. token .. ' ' .. (there and 1 or 0))
end
for index = own + 5, #ARGV, 3 do
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
