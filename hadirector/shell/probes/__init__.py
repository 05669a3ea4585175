"""The probe engines: one file per check type, all behind `Probe` of probes/base.py."""
