"""The nouns that every room uses: errors, legends, sensors, schema, grids, acquisitions."""
