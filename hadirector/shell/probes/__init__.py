"""Probes: one try of one check against one real server, one file per check type."""
