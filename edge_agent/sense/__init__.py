"""Inlet: what the box feels (buttons, mains, tamper) and the light that says how it is."""
