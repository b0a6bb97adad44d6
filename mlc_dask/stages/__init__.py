"""The sections of the method as functions from xarray to xarray: a stage applies kernels by verbs, without files."""
