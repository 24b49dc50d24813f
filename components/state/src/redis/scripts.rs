//! The scripts that run inside Redis. Each is atomic there, which is where atomicity has to be.
//!
//! The layout is Dapr's: a hash with `data`, `version` (the etag, counting up) and, after a first write, `first-write`.
//! One transaction is one script: it first checks every condition, then writes, so a mismatch leaves nothing behind.
//! A key of another type than hash was not written by Dapr's layout; like upstream, a write replaces it. Must never put
//! what an application sent into a script's text: it goes in as `KEYS` and `ARGV`.

use ::redis::Script;

/// Reads the version, `false` when there is none; shared by all scripts.
const VERSION: &str = r"
local function version(key)
  local found = redis.pcall('HGET', key, 'version')
  if type(found) == 'table' then return false end
  return found
end
local function matches(key, etag, first)
  local current = version(key)
  if etag ~= '' then return current == etag end
  return not (first == '1' and current)
end
local function write(key, data, first, ttl)
  if redis.call('TYPE', key)['ok'] ~= 'hash' then redis.call('DEL', key) end
  redis.call('HSET', key, 'data', data)
  if first == '1' then redis.call('HSET', key, 'first-write', 0) end
  redis.call('HINCRBY', key, 'version', 1)
  if ttl ~= '' then
    if tonumber(ttl) > 0 then redis.call('EXPIRE', key, ttl) else redis.call('PERSIST', key) end
  end
end
";

/// KEYS[1]; ARGV: etag or '', data, '1' for first-write, TTL or ''. Answers 1, or 0 on a mismatch.
pub(super) fn set() -> Script {
    Script::new(&format!(
        "{VERSION}
if not matches(KEYS[1], ARGV[1], ARGV[3]) then return 0 end
write(KEYS[1], ARGV[2], ARGV[3], ARGV[4])
return 1"
    ))
}

/// KEYS[1]; ARGV: etag or ''. Answers 1, or 0 on a mismatch.
pub(super) fn delete() -> Script {
    Script::new(&format!(
        "{VERSION}
if ARGV[1] ~= '' and version(KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1"
    ))
}

/// KEYS[n]; ARGV: per key 'set' or 'delete', etag, data, first, TTL. Answers 0, or the number of the step that mismatches.
pub(super) fn transact() -> Script {
    Script::new(&format!(
        "{VERSION}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  if not matches(key, ARGV[at + 2], ARGV[at + 4]) then return i end
end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  if ARGV[at + 1] == 'set' then
    write(key, ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
  else
    redis.call('DEL', key)
  end
end
return 0"
    ))
}
