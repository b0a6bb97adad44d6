"""Reading and writing: sources, cubes, products, models, samples, and the patch stores that hold cubes and maps."""
