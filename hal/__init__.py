"""The outer wall: every door between the node and the world.

`hal.ports` is the shape of each door, `hal.errors` what may go wrong at one,
`hal.linux` the real drivers and `hal.sim` their virtual siblings. Nothing here
knows anything of `edge_agent`.
"""
