"""Worlds rendered from OSM polygons: imagery and a STAC catalogue that need no network."""
