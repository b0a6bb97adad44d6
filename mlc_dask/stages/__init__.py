"""The method's sections as functions: xarray in, xarray out. A stage joins a kernel to a verb and never meets a file."""
