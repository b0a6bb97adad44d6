"""Fig. 1 of the paper as a list of calls, and what a run is given."""
