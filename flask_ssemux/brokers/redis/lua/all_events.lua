-- Stands between `prelude.lua` and `append_events.lua`: all events of the call are appended.
--
-- Defines: input and first, where the events are; verdict, which the answer contains; and finish(), which is called once
-- the events are appended.

local input, first, verdict = ARGV, own + 6, ''

local function finish()
end
