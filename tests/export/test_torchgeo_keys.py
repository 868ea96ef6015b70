"""The adapter of docs/exports.md gives samples as TorchGeo's; its base class is stood in for."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "exports.md"


def test_samples_have_torchgeos_keys(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torchgeo.datasets")
    module.NonGeoDataset = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchgeo", ModuleType("torchgeo"))
    monkeypatch.setitem(sys.modules, "torchgeo.datasets", module)
    (code,) = (
        part for part in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "NonGeo" in part
    )
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the page's own example
    dataset = names["GL10M"](small, "val", tiles=2, transforms=lambda sample: sample | {"seen": True})
    sample = dataset[1]
    assert len(dataset) == 2
    assert sample["image"].dtype == torch.float32
    assert sample["image"].shape == (3, 268, 268)
    assert sample["label"].tolist() == [0, 1, 0]
    assert sample["bounds"].shape == (4,)
    assert sample["crs"].to_epsg() == 4326
    assert sample["hr"].shape == (2, 3, 268, 268)
    assert sample["seen"]
