"""The rows of Tables 1 to 3 that bring an encoder of their own."""

from reference_model.baselines.entry import Assets, Entry
from reference_model.baselines.published_probes import PublishedFinetuned, PublishedProbe
from reference_model.baselines.vision_language import PublishedLR
from reference_model.face import Method, Setting

HEAD = "a linear head"
TOKENIZER = "the tokenizer of openai/clip-vit-base-patch16"
TOWER = "the text tower of openai/clip-vit-base-patch16"


def _vision_language(name: str, *rows: str) -> Entry:
    """A published encoder that ranks LR by its own two towers."""

    def make(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001 - one face for all rows
        return PublishedLR(setting, name, name, assets.weights.get(name), assets.texts.get(name))

    return Entry(
        name=name,
        stands_for=rows,
        observes="LR",
        regime="zero-shot",
        paper_obr=0.0,
        learned="nothing",
        encoder=name,
        needs=TOWER if name == "graft" else TOKENIZER,
        make=make,
    )


def _published_probe(
    name: str, encoder: str, *rows: str, row: type[PublishedProbe] = PublishedProbe, learned: str = HEAD
) -> Entry:
    """A published encoder on LR with a supervised head."""

    def make(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001
        return row(setting, name, encoder, assets.weights.get(name, assets.weights.get(encoder)))

    return Entry(
        name=name,
        stands_for=rows,
        observes="LR",
        regime="supervised",
        paper_obr=0.0,
        learned=learned,
        encoder=encoder,
        make=make,
    )


PUBLISHED = (
    _vision_language("remoteclip", "Table 1: RemoteCLIP", "Table 3: RemoteCLIP"),
    _vision_language("clip-rsicd", "Table 1: CLIP-RSICD"),
    _vision_language("openclip", "Table 1: OpenCLIP"),
    _vision_language("clip", "Table 3: CLIP"),
    _vision_language("graft", "Table 3: GRAFT"),
    _published_probe("resnet-50", "resnet50", "Table 2: ResNet-50, frozen"),
    _published_probe(
        "resnet-50-finetune",
        "resnet50",
        "Table 2: ResNet-50",
        row=PublishedFinetuned,
        learned="the whole network and its head",
    ),
    _published_probe("satmae", "satmae", "Table 2: SatMAE"),
    _published_probe("cross-scale-mae", "cross-scale-mae", "Table 2: CSMAE"),
    _published_probe("scale-mae", "scale-mae"),
)
