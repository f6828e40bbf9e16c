"""The series that needs no download: the yearly mean of the sunspot number, 1700 to 2008.

The numbers are facts, observed at many places and brought together in Zurich and Brussels (SILSO, Royal Observatory of
Belgium, version 1 of the international sunspot number), as the National Geophysical Data Center of the United States
published them in the public domain (http://www.ngdc.noaa.gov/stp/solar/solarda3.html).
"""

from __future__ import annotations

from pathlib import Path

SEASON = 11
"""Years. The solar cycle is no fixed season: it has taken 9 to 14 years, 11 on average."""


def sunspots() -> Path:
    """Return the file, with the columns year and sunspots."""
    return Path(__file__).with_name("sunspots.csv")
