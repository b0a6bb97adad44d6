"""JupyterHub with dask-gateway on one server, for people who trust each other: ``make hub``.

Everything listens on the loopback interface and runs as the account that started the hub; docs/jupyterhub.md describes
the consequences. ``MLC_HUB_PORT`` is the first of five ports, ``MLC_HUB_STATE`` the folder of all stored state.
"""

import os
import secrets
import shutil
import sys
from pathlib import Path

import jupytext

c = get_config()  # noqa: F821

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
STATE = Path(os.environ.get("MLC_HUB_STATE", Path.home() / ".mlc-dask-hub")).absolute()
PORT = int(os.environ.get("MLC_HUB_PORT", "8000"))
LOOPBACK = "127.0.0.1"
PUBLIC, HUB, ROUTES, GATEWAY, GATEWAY_API = (f"{LOOPBACK}:{port}" for port in range(PORT, PORT + 5))
SERVICE = "dask-gateway"


def kept_password(file: Path) -> str:
    """Password for all users: made at the first start, readable only by the account that runs the hub."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(24))
    return file.read_text().strip()


def give_notebook(spawner) -> None:
    """Put the first notebook into a home that has none."""
    home = STATE / "homes" / spawner.user.name
    home.mkdir(parents=True, exist_ok=True)
    notebook = home / "first-run.ipynb"
    if not notebook.exists():
        jupytext.write(jupytext.read(HERE / "first_run.py"), notebook)


def dashboards(spawner) -> str:
    """Address of a user's dashboards: behind the user's own notebook server, which requires a login."""
    return f"http://{PUBLIC}{spawner.server.base_url}proxy/{GATEWAY}"


STATE.mkdir(mode=0o700, parents=True, exist_ok=True)

c.JupyterHub.bind_url = f"http://{PUBLIC}"
c.JupyterHub.hub_bind_url = f"http://{HUB}"
c.JupyterHub.cookie_secret_file = str(STATE / "cookie_secret")
c.JupyterHub.db_url = f"sqlite:///{STATE / 'jupyterhub.sqlite'}"
c.ConfigurableHTTPProxy.api_url = f"http://{ROUTES}"
c.ConfigurableHTTPProxy.pid_file = str(STATE / "proxy.pid")
c.ConfigurableHTTPProxy.command = [str(HERE / "node_modules" / ".bin" / "configurable-http-proxy")]

# One password for all user names: names keep users' notebooks apart, but do not protect users from each other.
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = kept_password(STATE / "password")
c.Authenticator.allow_all = True
c.JupyterHub.template_vars = {"announcement_login": f"The password is on the server, in {STATE / 'password'}"}

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(STATE / "homes" / "{username}")
c.Spawner.pre_spawn_hook = give_notebook
c.Spawner.cmd = [str(BIN / "jupyterhub-singleuser")]
c.Spawner.default_url = "/lab"
# Jupyter refuses to run as root; a container may have no other user.
c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []
c.Spawner.environment = {
    # A terminal uses `mlc-dask` of this environment, activated or not.
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    # dask_gateway.Gateway() and execution.cluster = "gateway" need no argument, and use the session's own token.
    "DASK_GATEWAY__ADDRESS": f"http://{GATEWAY}",
    "DASK_GATEWAY__PROXY_ADDRESS": f"gateway://{GATEWAY}",
    "DASK_GATEWAY__AUTH__TYPE": "jupyterhub",
    "DASK_GATEWAY__PUBLIC_ADDRESS": dashboards,
    # The cluster that + NEW in the Dask panel starts.
    "DASK_LABEXTENSION__FACTORY__MODULE": "dask_gateway",
    "DASK_LABEXTENSION__FACTORY__CLASS": "GatewayCluster",
}

# The hub starts the gateway, gives it its own token in JUPYTERHUB_API_TOKEN, and restarts it when it dies.
# With a url, the hub's proxy would show dashboards without a login, because the gateway's proxy requires none.
c.JupyterHub.services = [
    {
        "name": SERVICE,
        "command": [str(BIN / "dask-gateway-server"), "--config", str(HERE / "dask_gateway_config.py")],
        "environment": {
            "MLC_GATEWAY": GATEWAY,
            "MLC_GATEWAY_API": GATEWAY_API,
            "MLC_GATEWAY_CLUSTERS": str(STATE / "clusters"),
        },
    }
]
# A user's token and the token of the user's server may ask the gateway for clusters.
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", f"access:services!service={SERVICE}"]},
    {
        "name": "server",
        "scopes": ["users:activity!user", "access:servers!server", f"access:services!service={SERVICE}"],
    },
]

if shutil.which("node") is None:
    raise SystemExit("JupyterHub's proxy needs Node.js 20 or newer; install it (apt-get install nodejs) and try again")
