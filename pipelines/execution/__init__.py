"""The machinery under the stages: Dask, the journal, the lock. It knows no stage."""
