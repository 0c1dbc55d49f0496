"""What `xetway bench` measures: the codec and the store, on the user's own files or on generated data.

Every stage checks its answer before it is timed. Memory stays at a few windows of 32 MiB, whatever the size of the
data; what is written goes to a folder of its own that is removed at the end.
"""
