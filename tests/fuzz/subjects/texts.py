"""Published text towers: their vocabularies, tokenizers, settings and weights, as `transformers` keeps them."""

import importlib
from pathlib import Path
from typing import Any

from reference_model.networks.published_files import WeightsDamagedError, WeightsNotFoundError
from reference_model.networks.published_texts import embed_names
from tests.fuzz.changes import Chance, spoiled, spoiled_json, spoiled_text
from tests.fuzz.subject import Spoiled

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "pond", "lake", "a", "of", "image", "##s", "satellite"]


class TextTowers:
    name = "text towers and their vocabularies"
    vouched = False
    errors: tuple[type[Exception], ...] = (WeightsNotFoundError, WeightsDamagedError)

    def prepare(self, folder: Path) -> None:
        transformers: Any = importlib.import_module("transformers")

        self.folder = folder / "tower"
        config = transformers.BertConfig(
            vocab_size=len(WORDS),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=64,
        )
        transformers.BertModel(config).save_pretrained(self.folder)
        words = folder / "vocab.txt"
        words.write_text("\n".join(WORDS))
        transformers.BertTokenizerFast(
            vocab={word: place for place, word in enumerate(WORDS)}
        ).save_pretrained(self.folder)
        self.files = {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}
        self.embedded()

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.files))
        content = self.files[name]
        if name.endswith(".json"):
            return Spoiled(name, spoiled_json(content, chance))
        return Spoiled(name, (spoiled if name.endswith("tensors") else spoiled_text)(content, chance))

    def read(self, spoiled: Spoiled) -> bool:
        path = self.folder / spoiled.name
        path.write_bytes(spoiled.content)
        try:
            return self.embedded()
        finally:
            path.write_bytes(self.files[spoiled.name])

    def embedded(self) -> bool:
        rows = embed_names(["Pond", "Lake"], "gl10m/fuzz", self.folder, ("{}", "a satellite image of {}"))
        assert rows.shape[0] == 2
        return False
