-- Begins the stream of an answer, anew if there is one, and its record. Both end by themselves.
-- KEYS: record, stream. ARGV: milliseconds, id and name of the first entry, then the record's fields and values.
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('XADD', KEYS[2], ARGV[2], ARGV[3], '')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
