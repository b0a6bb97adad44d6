from . import formats, inputs, perform, plan, reference

__all__ = ["formats", "inputs", "perform", "plan", "reference"]
