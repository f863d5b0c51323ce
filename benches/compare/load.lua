-- For wrk: spreads requests over routes or uploads (`-- ROUTES UPLOAD`, UPLOAD in bytes), and prints what it counted exactly, as one line of JSON.
local routes = 0
local posted -- made once: it may be large

function init(args)
  routes = tonumber(args[1] or "0")
  local upload = tonumber(args[2] or "0")
  if upload > 0 then
    wrk.method = "POST"
    wrk.body = string.rep("u", upload)
    posted = wrk.format()
  end
end

function request()
  if routes > 0 then
    return wrk.format("GET", "/r" .. math.random(0, routes - 1) .. "/x")
  end
  return posted or wrk.format()
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"bytes":%d,"errors":%d,"p50_us":%d,"p99_us":%d}\n', summary.requests, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
