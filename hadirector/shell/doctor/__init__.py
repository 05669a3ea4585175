"""How `hadirector doctor` finds its facts out: one outside thing for each module. All of it blocks,
within a deadline of its own, in a process that is not the daemon."""
