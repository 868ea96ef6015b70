"""Where data sets lie: a folder, or a prefix in a bucket of an object store."""
