"""Fig. 1 of the paper as a list of calls, and what a run is given."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
