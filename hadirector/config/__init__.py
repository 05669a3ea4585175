"""YAML to frozen, typed settings; every mistake with its file, line and column."""
