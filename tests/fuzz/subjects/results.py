"""What the rows of the paper reached: the records that the tables are made from."""

from pathlib import Path

from reference_model.reproduction.record import (
    MEASURED,
    Measurement,
    Provenance,
    Record,
    RecordDamagedError,
    read_record,
    write_record,
)
from tests.fuzz.changes import Chance, spoiled_json
from tests.fuzz.subject import Spoiled


class Records:
    name = "records of results"
    vouched = True
    errors: tuple[type[Exception], ...] = (RecordDamagedError,)

    def prepare(self, folder: Path) -> None:
        origin = Provenance(
            software="gl10m 0", commit="none", device="CPU", encoder="small", preset="tiny",
            data_set="ab" * 32, pretrain="none", settings="cd" * 32,
        )  # fmt: skip
        self.meant = Record(
            method="ours",
            target_obr=0.123,
            seed=1,
            status=MEASURED,
            rows=("table 1/ours", "table 4/sampler-predictor"),
            metrics={"mAP@100": Measurement(0.41, 0.39, 0.43), "OBR": Measurement(0.1227)},
            per_class={"mAP@100": {"Dam": 0.5, "Marina": 0.125}},
            provenance=origin,
        )
        write_record(folder, self.meant)
        self.path = folder / f"{self.meant.name}.json"
        self.whole = self.path.read_bytes()

    def spoil(self, chance: Chance) -> Spoiled:
        return Spoiled(self.path.name, spoiled_json(self.whole, chance))

    def read(self, spoiled: Spoiled) -> bool:
        self.path.write_bytes(spoiled.content)
        return read_record(self.path) == self.meant
