-- What one caller has used at all gateways, decided and counted in one step. Windows as in admission/windows.py, whose
-- SLICES precede this text, with KEEP, the seconds after which an account that is not used is forgotten.
-- KEYS: the account, the members. ARGV: what happens, this member, and what that needs:
--   enter LIMITS             a request may begin, unless a limit is reached
--   leave LIMITS TOKENS      it has ended
--   take_back LIMITS         it leaves as if it had never entered
--   balance LIMITS           nothing happens
--   tell NUMBER              so many of this member's requests are in flight
-- LIMITS are JSON: {"concurrent": 2, "requests": [[amount, seconds], ...], "tokens": [...]}.
-- enter and balance return, as MessagePack, whether a request may begin, the requests in flight, the totals of requests
-- and tokens and the time they cover, and for each window what is used, the time until more may be used, and until
-- nothing is. All times are in microseconds.
local action, member = ARGV[1], ARGV[2]
local limits = action ~= 'tell' and cjson.decode(ARGV[3]) or {}

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- The account's fields: `since`, `requests`, `tokens`; the slices of each window, such as `tokens/60`; and of each
-- member, `@member`, how many requests are in flight there and when it said so, in seconds.
local account = {}
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found, 2 do
  account[found[i]] = found[i + 1]
end
local changed = {}

local function set(field, value)
  account[field] = value
  changed[#changed + 1] = field
  changed[#changed + 1] = value
end

local function add(field, amount)
  set(field, (account[field] or 0) + amount)
end

-- Slices are when the newest one began, and then the time of the last charge of each and their sum, the oldest first.
local function window(unit, amount, seconds)
  local field, length = unit .. '/' .. seconds, seconds * 1000000
  local slices, used, is_ahead = {0}, 0, false
  if account[field] then
    local all = cmsgpack.unpack(account[field])
    slices[1] = all[1]
    for i = 2, #all, 2 do
      local last = all[i]
      if last > now then
        last, is_ahead = now, true -- the clock has been set back
      end
      if last + length > now then
        slices[#slices + 1] = last
        slices[#slices + 1] = all[i + 1]
        used = used + all[i + 1]
      end
    end
  end
  if is_ahead then
    set(field, cmsgpack.pack(slices))
  end
  return {field = field, limit = amount, length = length, slices = slices, used = used}
end

local function windows(unit)
  local all = {}
  for i, limit in ipairs(limits[unit] or {}) do
    all[i] = window(unit, limit[1], limit[2])
  end
  return all
end

local function charge(unit, all, amount)
  add(unit, amount)
  for _, one in ipairs(all) do
    local slices = one.slices
    local newest = #slices
    one.used = one.used + amount
    if newest > 1 and now - slices[1] < one.length / SLICES then
      slices[newest - 1], slices[newest] = now, slices[newest] + amount
    else
      slices[1], slices[newest + 1], slices[newest + 2] = now, now, amount
    end
    set(one.field, cmsgpack.pack(slices))
  end
end

local function wait(one)
  local surplus, slices = one.used - one.limit, one.slices
  for i = 2, #slices, 2 do
    if surplus < 0 then
      break
    end
    surplus = surplus - slices[i + 1]
    if surplus < 0 then
      return slices[i] + one.length - now
    end
  end
  return 0
end

local function reset(one)
  local newest = #one.slices
  return newest > 1 and one.slices[newest - 1] + one.length - now or 0
end

-- A member that is not there keeps its field for so many seconds: it may come back.
local FORGOTTEN = 3600

local function at(field)
  local count, said = string.match(account[field] or '0 0', '(%d+) (%d+)')
  return tonumber(count), tonumber(said)
end

-- The requests in flight at this member and at all that live.
local function in_flight()
  local mine, all = 0, 0
  for field in pairs(account) do
    local name = string.match(field, '^@(.+)')
    if name then
      local count, said = at(field)
      if name == member then
        mine, all = count, all + count
      else
        local lease = redis.call('ZSCORE', KEYS[2], name)
        if lease and lease * 1000 > now then
          all = all + count
        elseif said + FORGOTTEN < now / 1000000 then
          redis.call('HDEL', KEYS[1], field)
        end
      end
    end
  end
  return mine, all
end

local function save(mine)
  if mine > 0 then
    set('@' .. member, string.format('%d %d', mine, now / 1000000))
  else
    redis.call('HDEL', KEYS[1], '@' .. member)
  end
  if #changed > 0 then
    if not account.since then
      set('since', now)
    end
    redis.call('HSET', KEYS[1], unpack(changed))
    redis.call('EXPIRE', KEYS[1], KEEP)
  end
end

if action == 'tell' then
  save(tonumber(ARGV[3]))
  return 0
end

if action == 'leave' or action == 'take_back' then
  local mine = at('@' .. member)
  if action == 'leave' then
    charge('tokens', windows('tokens'), tonumber(ARGV[4]))
  else
    charge('requests', windows('requests'), -1)
  end
  save(mine - 1)
  return 0
end

local mine, all = in_flight()
local requests, tokens = windows('requests'), windows('tokens')
local levels = {unpack(requests)}
for _, one in ipairs(tokens) do
  levels[#levels + 1] = one
end
local allowed = not limits.concurrent or all < limits.concurrent
for _, one in ipairs(levels) do
  allowed = allowed and one.used < one.limit
end
if action == 'enter' and allowed then
  all = all + 1
  mine = mine + 1
  charge('requests', requests, 1)
end
if #changed > 0 then
  save(mine)
end
local reply = {allowed and 1 or 0, all, tonumber(account.requests or 0), tonumber(account.tokens or 0)}
reply[5] = math.max(0, now - (account.since or now))
for _, one in ipairs(levels) do
  reply[#reply + 1] = one.used
  reply[#reply + 1] = wait(one)
  reply[#reply + 1] = reset(one)
end
return cmsgpack.pack(reply)
