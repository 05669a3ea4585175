"""What holds for all tests."""

from hypothesis import settings

# A test that takes 300 ms on a machine that does other things as well has not failed; what must be
# quick has a test of its own, with a bound of its own.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
