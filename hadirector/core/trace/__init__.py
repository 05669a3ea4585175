"""`hadirector trace`: packets of one client in, the way of one connection out.

`packets` says what was seen, `walk` which leg of the way each packet went, `ladder` draws it, and
`verdict` says where packets stop and why, with doctor's facts for what packets do not show.
"""
