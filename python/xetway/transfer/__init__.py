"""Transfers as a client: download from and upload to any Hub, ours or another.

The control plane is here: which files, where they belong, what is there already, what to tell. Bytes are moved and
verified by `xetway._native`; nothing here reads a file's content but to hash what a folder held before. `library` has
what `xetway` exports, `cli` the commands.
"""
