"""The bench of the gateway: its peers, the load, the rounds, and what is said of them."""

import record  # noqa: F401  # puts scripts/ on the path, for `peers` and `toolchain`
