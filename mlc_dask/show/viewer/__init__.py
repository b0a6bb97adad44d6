"""A finished run as a local web page: maps by year and model, swiped, and the history of the pixel at a click."""
