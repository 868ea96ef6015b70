"""The report: one HTML file that opens without network, made of sections that each read what they need."""
