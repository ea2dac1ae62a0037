"""The real drivers: what stands behind each door on a Linux machine."""
