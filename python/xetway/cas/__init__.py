"""The content side: xorbs, files and shards on disk, and the CAS routes that serve them."""
