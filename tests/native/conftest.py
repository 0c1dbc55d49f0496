"""Settings of the property tests: a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("native", deadline=None, print_blob=True)
settings.load_profile("native")
