"""The live streams: packets and pull streams, kept in time, as sources for the loudspeaker."""
