"""The regression gate: candidate runs against baseline runs, matched, judged and reported."""

from vlabench.gate.junit import junit
from vlabench.gate.matching import Match, match_runs
from vlabench.gate.report import Changed, Entry, Gate, hold
from vlabench.gate.summary import summary

__all__ = ["Changed", "Entry", "Gate", "Match", "hold", "junit", "match_runs", "summary"]
