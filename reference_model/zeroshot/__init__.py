"""Zero-shot recognition on data sets that have LR alone: EuroSAT and BigEarthNet (5.3.2, Table 3)."""
