"""Exports: a data set, or some of it, in the formats of other tools. See docs/exports.md."""
