"""Synthetic worlds: a landscape with planted truth, written as the formats that users have.

For demonstrations, tests and benchmarks: what the ground is and what truly changes is known, and the images, their
masks and the old map are as imperfect as real ones.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
