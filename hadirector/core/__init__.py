"""Pure decisions: `handle(event, now) -> actions` and `plan(desired, actual) -> operations`.

Nothing in here reads a clock, a file, the environment or randomness; instants are float
seconds of CLOCK_BOOTTIME, passed in. tests/core/test_purity.py holds the allow-list of imports.
"""
