"""For all tests: hypothesis does not hold the machine's other work against the code."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
