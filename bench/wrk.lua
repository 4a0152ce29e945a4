-- For wrk: makes the request from the arguments, and prints what was measured as JSON.
-- Arguments: method, bytes of the body or -1, number of headers, number of paths.

function init(args)
    local body, headers, paths = tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
    wrk.method = args[1]
    if body >= 0 then
        wrk.body = string.rep("x", body)
    end
    for number = 1, headers do
        wrk.headers["X-Header-" .. number] = "the value of header " .. number
    end
    if paths > 0 then
        -- One request after the other to /0/hello, /1/hello, ...
        local requests, last, prefix = {}, 0, wrk.path
        for number = 1, paths do
            requests[number] = wrk.format(nil, "/" .. (number - 1) .. prefix)
        end
        request = function()
            last = last % paths + 1
            return requests[last]
        end
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "seconds": %f, "bytes": %.0f, "p50_ms": %f, "p99_ms": %f, "max_ms": %f, ' ..
        '"failed": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
        summary.requests, summary.duration / 1e6, summary.bytes,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
