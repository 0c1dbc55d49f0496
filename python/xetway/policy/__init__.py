"""What a request to a model has to pass: keys, limits, cache, queue, circuit breaker.

Knows no HTTP server and no upstream.
"""
