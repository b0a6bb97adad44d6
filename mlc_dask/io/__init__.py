"""Reading and writing: sources, cubes, products, and the patch stores that hold them."""
