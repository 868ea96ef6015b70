"""A protocol of seconds: it checks the machinery and teaches nothing."""

from typing import Any

SMALL_PROTOCOL: dict[str, Any] = {
    "name": "small",
    "registered": "2026-11-30",
    "seeds": [1, 2],
    "tuned_on": [101],
    "scenes": {"train": 12, "pretrain": 4, "val": 4, "test": 24},
    "knobs": {"zones": 2, "glyphs": 2, "novel": 1},
    "vision_language": {
        "dim": 16,
        "depth": 1,
        "heads": 2,
        "embedding": 16,
        "web_scenes": 4,
        "schedule": {"steps": 6, "batch": 8, "learning_rate": 1e-3},
    },
    "preset": {
        "name": "small",
        "tokens_per_side": 1,
        "head_depth": 1,
        "sampler": {"input_px": 80, "dim": 16, "depth": 1, "heads": 2},
        "predictor": {"dim": 16, "depth": 1, "heads": 2, "bottleneck": 1},
        "pretraining": {"steps": 1, "batch": 1, "learning_rate": 1e-3},
        "sampling": {"steps": 6, "batch": 4, "learning_rate": 1e-3},
        "completion": {"steps": 6, "batch": 4, "learning_rate": 1e-3},
        "alignment": {"steps": 6, "batch": 4, "learning_rate": 1e-3},
    },
    "target_obr": 0.123,
    "rows": ["ours", "lr-only", "random", "full-no-predictor"],
    "curve": [0.05],
    "curve_rows": ["ours"],
    "thresholds": [0.0, 0.5, 1.0],
    "resamples": 20,
    "orderings": [
        {"id": "O5", "claim": "sparse above LR only", "better": "ours", "worse": "lr-only"},
        {"id": "O1", "claim": "sampler above random", "better": "ours", "worse": "random"},
        {"id": "O5b", "claim": "more tiles above fewer", "better": "ours", "worse": "ours@0.05"},
    ],
}
