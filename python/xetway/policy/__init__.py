"""What a request to a model has to pass: keys, limits, cache, queue, circuit breaker.

Knows no upstream, and no HTTP server, but for `admin`, which has the routes that administer it.
"""
