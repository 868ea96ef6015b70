"""The wing that builds data sets: from an OSM extract and two image catalogues to shards and manifests."""
