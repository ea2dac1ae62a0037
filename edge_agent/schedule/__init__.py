"""Inlet: the clock. Rules become occurrences, an occurrence that is due becomes a request for the loudspeaker."""
