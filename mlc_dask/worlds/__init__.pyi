from .demo import write_demo
from .settings import World
from .writing import write_products, write_world

__all__ = [
    "World",
    "write_demo",
    "write_products",
    "write_world",
]
