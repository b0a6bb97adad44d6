"""Fig. 1 of the paper as a list of calls, the inputs and the plan of a run, and a whole run as one call."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
