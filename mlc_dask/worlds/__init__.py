"""Synthetic worlds: a landscape with planted truth, written in the product formats that users have.

Worlds serve demonstrations, tests and benchmarks. Land cover and true changes are known; the images, their masks and
the old map are as imperfect as real ones.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
