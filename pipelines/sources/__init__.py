"""Where inputs come from: OSM extracts and imagery catalogues."""
