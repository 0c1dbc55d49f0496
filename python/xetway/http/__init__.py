"""The ASGI application: requests, responses, routing, byte ranges, error bodies, worker threads.

Nothing here knows repositories or xorbs; handlers get a `Request` and return a `Response`.
"""
