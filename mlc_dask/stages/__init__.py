"""The method's sections as functions, xarray in, xarray out: a stage joins a kernel to a verb, and meets no file."""
