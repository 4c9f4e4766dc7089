-- Writes the record of a run that will begin later.
--
-- ARGV     id, details

allow_writes()
add_run(ARGV[own + 1], ARGV[own + 2])
return {epoch, text(sequence)}
