"""OUTLET: the loudspeaker. Requests become turns; a turn becomes sound through the amplifier."""
