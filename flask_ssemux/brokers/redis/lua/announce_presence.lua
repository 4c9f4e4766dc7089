-- Writes how many streams a process has, by channel and user; and removes, a few at a time, counts that expired. Notes
-- which users may be away then, for update_roster.lua.
--
-- ARGV     process, milliseconds that its counts last (0: remove them), whether to remove all its earlier counts first
--          ('1'), a token of this call, then channel, user, streams ...
-- returns  epoch, sequence, whether its earlier counts were still there

local FORGET = 1000
local AHEAD = 20  -- times that counts last: counts that expire later were written while a clock was ahead

-- A caller that never got its answer repeats the call with the same token, and gets the same answer.
local holder, lasts, anew, token = ARGV[own + 1], tonumber(ARGV[own + 2]), ARGV[own + 3] == '1', ARGV[own + 4]
local present = base .. 'present'
allow_writes()

-- A user whose streams are removed may be away from now on; see update_roster.lua.
local function note_absence(channel, user)
  local entry = redis.call('HGET', base .. 'r:' .. channel, user)
  local change, grace = string.match(entry or '', '^(%S+) (%d+)')
  if change and change ~= 'leave' then
    redis.call('ZADD', base .. 'absent', text(now + tonumber(grace)), channel .. '\n' .. user)
  end
end

local function remove_counts(name, most)
  local stored = redis.call('SRANDMEMBER', base .. 'q:' .. name, most + 1)
  for index = 1, math.min(most, #stored) do
    local channel, user = string.match(stored[index], '^([^\n]*)\n(.*)$')
    redis.call('HDEL', base .. 'p:' .. channel, name .. ' ' .. user)
    redis.call('SREM', base .. 'q:' .. name, stored[index])
    note_absence(channel, user)
  end
  if #stored <= most then
    redis.call('HDEL', present, name)
  end
end

local known, there = redis.call('HGETALL', present), false
for index = 1, #known, 2 do
  local expires, server, known_token, answer = string.match(known[index + 1], '^(%d+) (%x*) ?(%d*) ?(%d*)$')
  if known[index] == holder then
    -- A server that restarted may have lost some of its counts.
    there = tonumber(expires) > now and server == run
    if known_token == token then
      there = answer == '1'
    end
    anew = anew or tonumber(expires) <= now
  elseif tonumber(expires) <= now or lasts > 0 and tonumber(expires) > now + AHEAD * lasts then
    remove_counts(known[index], FORGET)
  end
end
if anew then
  remove_counts(holder, 1000000)
end
if lasts > 0 then
  redis.call('HSET', present, holder, text(now + lasts) .. ' ' .. run .. ' ' .. token .. ' ' .. (there and 1 or 0))
end
for index = own + 5, #ARGV, 3 do
  local channel, user, streams = unpack(ARGV, index, index + 2)
  local member = channel .. '\n' .. user
  if streams == '0' then
    redis.call('HDEL', base .. 'p:' .. channel, holder .. ' ' .. user)
    redis.call('SREM', base .. 'q:' .. holder, member)
    note_absence(channel, user)
  else
    redis.call('HSET', base .. 'p:' .. channel, holder .. ' ' .. user, streams)
    redis.call('SADD', base .. 'q:' .. holder, member)
  end
end
return {epoch, text(sequence), there and 1 or 0}
