"""What a request to a model has to pass: keys, limits, cache, queue, circuit breaker.

Knows no upstream, and no HTTP server.
"""
