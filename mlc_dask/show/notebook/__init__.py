"""How cubes, maps and runs show themselves in a notebook: ``data.mlc`` on xarray objects, and :func:`open_run`.

Importing this package registers the accessor; libraries that draw are imported when something is shown.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
