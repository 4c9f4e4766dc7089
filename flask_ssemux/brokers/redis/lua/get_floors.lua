-- Up to which place the events of channels are over a limit of the history.
--
-- ARGV     channels ...
-- returns  epoch, sequence, a place for each channel

local floors = {}
for index = own + 1, #ARGV do
  floors[#floors + 1] = text(floor_of(ARGV[index]))
end
return {epoch, text(sequence), floors}
