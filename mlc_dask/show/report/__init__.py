"""The evidence card of a run: one self-contained HTML page with maps, tables and plots."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
