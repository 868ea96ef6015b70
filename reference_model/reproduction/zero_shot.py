"""Table 3's other data sets: figures of EuroSAT and BigEarthNet join the record of our row."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reference_model.inference.model import GL10MReference
from reference_model.reproduction.record import MEASURED, Measurement, Record
from reference_model.zeroshot.bigearthnet import open_bigearthnet
from reference_model.zeroshot.eurosat import open_eurosat
from reference_model.zeroshot.evaluate import recognise
from reference_model.zeroshot.images import Recognition

WHITE = 2750
"""Digital number of a band that becomes 255, as of `gl10m evaluate-zeroshot`."""

EUROSAT, BIGEARTHNET = "EuroSAT/accuracy", "BigEarthNet/mAP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the data sets are; None for one that is not at hand."""

    eurosat: Path | None = None
    bigearthnet: Path | None = None

    def wanted(self, record: Record) -> tuple[str, ...]:
        """Figures that a record of our row lacks and that can be measured."""
        at_hand = {EUROSAT: self.eurosat, BIGEARTHNET: self.bigearthnet}
        return tuple(
            metric
            for metric, folder in at_hand.items()
            if folder is not None and record.status == MEASURED and metric not in record.metrics
        )

    def opened(self) -> Mapping[str, Recognition]:
        """The data sets that are at hand, by the figure they are for.

        Raises:
            ZeroShotFolderError: a folder does not hold its data set.
        """
        found: dict[str, Recognition] = {}
        if self.eurosat is not None:
            found[EUROSAT] = open_eurosat(self.eurosat, WHITE)
        if self.bigearthnet is not None:
            found[BIGEARTHNET] = open_bigearthnet(self.bigearthnet, WHITE)
        return found


def joined(
    record: Record,
    recognitions: Mapping[str, Recognition],
    run: Path,
    weights: Path | None,
    texts: Path | None,
) -> Record:
    """Measure what a record lacks.

    Args:
        record: of our row.
        recognitions: the data sets, by the figure.
        run: the run folder, whose stages have finished.
        weights: file of a published encoder; looked for on this machine if None.
        texts: folder of its text tower; looked for likewise.

    Returns:
        The record with the figures.
    """
    model = GL10MReference.from_pretrained(run, weights=weights)
    metrics = dict(record.metrics)
    for metric, recognition in recognitions.items():
        found = recognise(model, recognition, texts)
        metrics[metric] = Measurement(float(found["accuracy" if metric == EUROSAT else "macro_mAP"]))
    return replace(record, metrics=metrics)
