"""Measurements: `python -m bench` (`make bench`), written to RESULTS.md.

Here live the drivers, the workers that they start, and the description of the machine. Nothing of the product may
import from here, and nothing here is shipped. Ratios and counts are the claims; seconds only show what they rest on.
"""
