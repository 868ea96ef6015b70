"""The model and its ablations (Tables 4 and 6), and the oracles that tell whose fault a gap is.

One checkpoint serves every row that differs in the choice of tiles alone. All rows have the same head, the
same positions, the same number of steps and the same draws.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from reference_model.baselines.entry import Assets, Entry, MissingAssetError, Observes
from reference_model.baselines.planners import Planner, RandomPlanner
from reference_model.face import Method, Setting
from reference_model.methods.evidence import FilledFromOverview, ObservedBesideOverview, OverviewAlone
from reference_model.methods.planning import ByLabel, BySampler, ByWorth, EveryTile, NoTile
from reference_model.methods.representing import OtherPredictor, Ours, Representation, WithoutPredictor
from reference_model.metrics.observation_cost import DEFAULT_OBR

RANDOM_DRAWS = 3
"""Random choices of tiles that a row is averaged over."""


class Assembled:
    """A way to choose tiles and a way to use them."""

    def __init__(self, name: str, setting: Setting, planner: Planner, representation: Representation) -> None:
        self.name, self.setting = name, setting
        self.planner, self.representation = planner, representation

    def fit(self) -> None:
        """See `Method`."""
        self.planner.fit()
        self.representation.fit()

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """See `Method`."""
        return self.planner.plan(rows, target_obr)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """See `Method`: cosine space, float32 (N, embedding)."""
        return self.representation.embed(rows, selected)

    def rank(self, embedded: Tensor) -> Tensor:
        """Cosine with the text of every class, Base and Novel."""
        return embedded @ self.setting.texts.embeddings.T


def _beside_overview(setting: Setting) -> Representation:
    return WithoutPredictor(setting, "no-predictor", ObservedBesideOverview)


def _without_lr(setting: Setting) -> Representation:
    return OtherPredictor(setting, "predictor-without-lr", "self")


def _filled(setting: Setting) -> Representation:
    dim = setting.features.hr.shape[-1]
    return WithoutPredictor(setting, "lr-filling", lambda: FilledFromOverview(dim))


def _without_pretraining(setting: Setting) -> Representation:
    if not len(setting.job.roles.unlabelled):
        raise MissingAssetError(
            "the row without pretraining needs scenes that stage I alone learns from, and the data set "
            "has no split `pretrain`. Give some of its scenes that split, or leave the row out."
        )
    return OtherPredictor(setting, "without-pretraining", pretrained=False)


def _entry(
    name: str,
    planner: Callable[[Setting, int], Planner],
    representation: Callable[[Setting], Representation],
    *,
    stands_for: tuple[str, ...] = (),
    observes: Observes = "LR + HR",
    paper_obr: float = DEFAULT_OBR,
    learned: str = "sampler, predictor, head",
    needs: str | None = None,
    draws: int = 1,
) -> Entry:
    def make(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001 - one face for all rows
        return Assembled(name, setting, planner(setting, draw), representation(setting))

    return Entry(
        name=name,
        stands_for=stands_for,
        observes=observes,
        regime="zero-shot",
        paper_obr=paper_obr,
        learned=learned,
        needs=needs,
        draws=draws,
        make=make,
    )


def _no_tile(setting: Setting, draw: int) -> Planner:  # noqa: ARG001 - one face for all planners
    return NoTile()


def _every_tile(setting: Setting, draw: int) -> Planner:  # noqa: ARG001
    return EveryTile()


def _sampler(setting: Setting, draw: int) -> Planner:  # noqa: ARG001
    return BySampler(setting)


def _sampler_of(fusion: str) -> Callable[[Setting, int], Planner]:
    return lambda setting, _: BySampler(setting, fusion)


_ROWS = (
    _entry("ours", _sampler, Ours, stands_for=("Table 1: Ours", "Table 4: sampler + predictor")),
    _entry(
        "lr-only",
        _no_tile,
        Ours,
        stands_for=("Table 1: Ours (LR)", "Table 4: LR only"),
        observes="LR",
        paper_obr=0.0,
    ),
    _entry(
        "lr-head",
        _no_tile,
        lambda setting: WithoutPredictor(setting, "lr-head", OverviewAlone),
        observes="LR",
        paper_obr=0.0,
        learned="head on LR tokens alone: the fairer ceiling of LR",
    ),
    _entry("full", _every_tile, Ours, stands_for=("Table 1: Ours (Full)",), paper_obr=1.0),
    _entry("random", RandomPlanner, Ours, stands_for=("Table 4: random + predictor",), draws=RANDOM_DRAWS),
    _entry(
        "no-predictor",
        _sampler,
        _beside_overview,
        stands_for=("Table 4: sampler, no predictor", "Table 6: no predictor"),
        learned="sampler, head",
    ),
    _entry("random-no-predictor", RandomPlanner, _beside_overview, learned="head", draws=RANDOM_DRAWS),
    _entry("full-no-predictor", _every_tile, _beside_overview, learned="head", paper_obr=1.0),
    _entry(
        "lr-filling",
        _sampler,
        _filled,
        stands_for=("Table 6: direct LR filling",),
        learned="sampler, linear layer, head",
    ),
    _entry("predictor-without-lr", _sampler, _without_lr, stands_for=("Table 6: predictor without LR",)),
    _entry(
        "full-without-lr",
        _every_tile,
        _without_lr,
        stands_for=("Table 2: Ours without LR (HR)",),
        observes="HR",
        paper_obr=1.0,
    ),
    *(
        _entry(fusion, _sampler_of(fusion), Ours, stands_for=(f"Table 6: {fusion}",))
        for fusion in ("structural", "semantic", "additive")
    ),
    _entry(
        "cross-only",
        _sampler,
        lambda setting: OtherPredictor(setting, "cross-only", "cross"),
        learned="sampler, predictor of cross-attention alone (4.3 read literally), head",
    ),
    _entry(
        "without-pretraining",
        _sampler,
        _without_pretraining,
        stands_for=("Table 6: without pretraining",),
        needs="scenes in the split pretrain",
    ),
    _entry(
        "oracle-worth",
        lambda setting, _: ByWorth(setting),
        Ours,
        learned="a diagnostic: G* of the held-out scenes chooses the tiles",
    ),
    _entry(
        "oracle-label",
        lambda setting, _: ByLabel(setting),
        Ours,
        learned="a diagnostic: labels of the held-out scenes choose the tiles",
    ),
)

OURS: Mapping[str, Entry] = MappingProxyType({one.name: one for one in _ROWS})
"""By name."""
