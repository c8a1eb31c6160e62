-- A gateway ends: its slots are free, and another one can be the scheduler. KEYS: members, scheduler. ARGV: the member.
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
return 0
