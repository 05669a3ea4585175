"""The lab: client, two directors, four real servers and two bridges, each node in namespaces.

Knows the product only from outside: its command line, its control socket and its packets.
`host` and `guest` find a kernel with IPVS to run in; `topology` builds the network from `node`s;
`director`, `server` and `load` are what lives there; `drills` runs the scripts of ../drills.
"""
