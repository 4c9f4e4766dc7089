-- The place of the newest event, which server says so, the place at which this life began, and its voids.

return {epoch, text(sequence), run, redis.call('HGET', KEYS[1], 'born') or '0', voids}
