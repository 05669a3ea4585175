"""Other programs' configurations made into ours; each line of theirs is carried over or told."""
