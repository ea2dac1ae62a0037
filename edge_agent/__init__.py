"""The village node's agent. (The map of the house is drawn here when the rooms stand.)"""

__version__ = "0.1.0"
