"""The lawful, typed configuration of one node: what config/ makes from YAML.

Plain frozen dataclasses of str, int, float, bool, enums and tuples, so that they can be handed
from process to process. Past this point no value is checked again: a wrong one cannot be built
from a file (examples.md: parse, do not validate).
"""
