"""Inlet: the technician at the box, through the local socket: stop, release, status."""
