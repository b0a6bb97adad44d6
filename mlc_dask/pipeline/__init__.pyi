from . import formats, inputs, perform, plan

__all__ = ["formats", "inputs", "perform", "plan"]
