"""Manifests: declared tables, the account of each stage, and Parquet files written whole or not at all."""
