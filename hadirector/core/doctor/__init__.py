"""`hadirector doctor`: facts about this host and its network in, findings out.

`facts` says what there is to know, `wishes` what to ask for a given configuration, and each other
module knows the faults of one part of the topology. A finding says what is wrong, why that breaks,
what mends it and how to look again. What could not be found out (no root, say) is told as such and
never taken for healthy.
"""
