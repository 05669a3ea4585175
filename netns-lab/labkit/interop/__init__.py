"""The interop matrix: hadirector and the real keepalived on one wire, cell by cell.

cells     what there is to run, by name
arena     one wire with one of each, and a client that asks the virtual address all the time
configs   how each of the two is told its part
capture   what tcpdump saw of it
blows     stop, kill, priority, preempt: what is done in a cell
judge     what must have come of it, by the protocol's own formulas
matrix    all cells, several wires at the same time, each in a process of its own
table     the result for people and for programs
"""
