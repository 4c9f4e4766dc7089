-- Which channels have events after a place, those with the oldest of their newest events first, a part at a time.
--
-- ARGV     the place, the part's beginning (a place: all channels whose newest event is at or below it were given),
--          the most channels
-- returns  epoch, sequence, whether all that have such events are listed, in one list channel, its newest event ...

local after, from, most = tonumber(ARGV[own + 1]), ARGV[own + 2], ARGV[own + 3]
-- An earlier version appends without listing its channel.
local is_listed = tonumber(life.listed or 0) == sequence and tonumber(life.unlisted or 0) <= after
local found = redis.call('ZRANGEBYSCORE', base .. 'lasts', '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
return {epoch, text(sequence), is_listed and 1 or 0, found}
