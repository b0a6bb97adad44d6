"""A finished run as a local web page: maps by year and model, two at a time, and the history of every pixel."""
