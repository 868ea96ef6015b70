"""The store: encoded images in Parquet shards, and the index of their byte ranges."""
