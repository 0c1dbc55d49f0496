"""The mirror: repositories of an upstream Hub, served as if they were here.

It decides whose answer a request gets, keeps the upstream's answers (`answers.db`), hides the upstream's tokens and
addresses behind ours, and hands content to the compiled part, which fetches, proves and caches it. It never sees the
bytes of content except as pieces on their way to a client.
"""
