"""The rows of the paper's tables that are not the paper's own method, each behind the face of `face`.

Re-implemented from the papers that describe them; docs/baselines.md says what each learns and needs.
"""
