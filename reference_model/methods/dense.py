"""Our rows of Table 2, the dense regime: Eq. 8 and a classifier, every class is taught (4.4).

One training serves the rows that see LR: only the tiles differ. The row without LR has a head of its own that
sees full observations and nothing else; no predictor has a part in it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from reference_model import stages
from reference_model.alignment import PREDICTOR_RATE, completion_term, drawn_step
from reference_model.baselines.entry import Assets, Entry, Observes
from reference_model.baselines.errors import NotFittedError
from reference_model.baselines.planners import Planner
from reference_model.baselines.probes import classification
from reference_model.determinism import seeded
from reference_model.evaluate import in_batches
from reference_model.face import Method, Setting
from reference_model.methods.planning import BySampler, EveryTile, NoTile
from reference_model.methods.subruns import sampler_scores
from reference_model.networks.classifier import SceneClassifier
from reference_model.networks.encoder import SmallEncoder
from reference_model.networks.predictor import Predictor, integrated

DENSE, DENSE_FULL = "dense.safetensors", "dense-full.safetensors"


class Dense:
    """One row of the dense regime that sees LR."""

    def __init__(self, setting: Setting, name: str, planner: Planner) -> None:
        self.setting, self.name, self.planner = setting, name, planner
        self.predictor: Predictor | None = None
        self.classifier: SceneClassifier | None = None

    def fit(self) -> None:
        """Train predictor and classifier, or read them back."""
        scores = sampler_scores(self.setting, self.setting.job.preset.fusion)
        self.predictor, self.classifier = dense_model(self.setting, scores)
        self.planner.fit()

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """See `Method`."""
        return self.planner.plan(rows, target_obr)

    @torch.no_grad()
    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Logits (N, classes) of the completed scenes.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        if self.predictor is None or self.classifier is None:
            raise NotFittedError(f"{self.name} has to be fitted before it embeds scenes. Call fit() first.")
        features, found = self.setting.features, []
        for part, where in in_batches(rows, selected):
            observed, chosen = features.observed(part, where), where.to(features.device)
            predicted = self.predictor(observed, chosen, features.context(part))
            found.append(self.classifier(integrated(predicted, observed, chosen)).cpu())
        return torch.cat(found)

    def rank(self, embedded: Tensor) -> Tensor:
        """The logits themselves."""
        return embedded


class DenseWithoutLR:
    """The row that sees all HR and no LR: a head on full observations."""

    def __init__(self, setting: Setting, name: str) -> None:
        self.setting, self.name = setting, name
        self.classifier: SceneClassifier | None = None

    def fit(self) -> None:
        """Train the classifier, or read it back."""
        self.classifier = classifier_of_full(self.setting)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Every tile."""
        return EveryTile().plan(rows, target_obr)

    @torch.no_grad()
    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Logits (N, classes) of the observed scenes.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: a tile was not bought.
        """
        if self.classifier is None:
            raise NotFittedError(f"{self.name} has to be fitted before it embeds scenes. Call fit() first.")
        if not bool(selected.all()):
            raise ValueError(
                f"{self.name} stands on full observations; {int((~selected).sum())} tiles were not bought. "
                "Plan with this row, or take full-supervised."
            )
        found = [
            self.classifier(self.setting.features.target(part)).cpu()
            for part, _ in in_batches(rows, selected)
        ]
        return torch.cat(found)

    def rank(self, embedded: Tensor) -> Tensor:
        """The logits themselves."""
        return embedded


def dense_model(setting: Setting, scores: Tensor) -> tuple[Predictor, SceneClassifier]:
    """Stage II of the dense regime: cross-entropy and half of Eq. 8; masks as in that of Eq. 9.

    Args:
        setting: what is trained on.
        scores: the sampler's, (scenes, 100).
    """
    job, features = setting.job, setting.features
    team, labels = job.team, job.catalogue.labels
    normalised = stages.calibrated(job, scores).normalised(scores)
    predictor, mean = stages.trained_predictor(job, features, setting.encoder)
    with seeded(job.seed, "dense") as generator:
        classifier = _new_classifier(setting)
        if not job.run.finished("dense", DENSE):
            completing, classifying = team.wrapped(predictor), team.wrapped(classifier)

            def losses(_: int) -> dict[str, Tensor]:
                rows, selected = drawn_step(job, normalised, generator)
                observed = features.observed(rows, selected)
                predicted = completing(observed, selected, features.context(rows))
                logits = classifying(integrated(predicted, observed, selected))
                return {
                    "classes": classification(logits, labels[rows]),
                    "completion": completion_term(features, rows, predicted, mean),
                }

            modules: dict[nn.Module, float] = {predictor: PREDICTOR_RATE, classifier: 1.0}
            job.train("dense", modules, job.preset.alignment, losses, generator)
            job.finish("dense", DENSE, predictor=predictor, classifier=classifier)
    job.run.load(DENSE, predictor=predictor, classifier=classifier)
    return predictor.eval(), classifier.eval()


def classifier_of_full(setting: Setting) -> SceneClassifier:
    """A head on full observations H*, trained or read back; LR has no part in it."""
    job, features = setting.job, setting.features
    schedule, team, labels = job.preset.alignment, job.team, job.catalogue.labels
    with seeded(job.seed, "dense-full") as generator:
        classifier = _new_classifier(setting)
        if not job.run.finished("dense-full", DENSE_FULL):
            classifying = team.wrapped(classifier)

            def losses(_: int) -> dict[str, Tensor]:
                rows = team.part(job.train_rows(schedule.batch, generator))
                return {"classes": classification(classifying(features.target(rows)), labels[rows])}

            job.train("dense-full", {classifier: 1.0}, schedule, losses, generator)
            job.finish("dense-full", DENSE_FULL, classifier=classifier)
    job.run.load(DENSE_FULL, classifier=classifier)
    return classifier.eval()


def _new_classifier(setting: Setting) -> SceneClassifier:
    """The head at its start; the pool of the small encoder is one already."""
    job, encoder = setting.job, setting.encoder
    small = isinstance(encoder, SmallEncoder)
    rates = job.catalogue.labels[torch.from_numpy(job.roles.train)].float().mean(dim=0)
    classifier = SceneClassifier(
        features=encoder.dim,
        heads=job.preset.encoder.heads if small else job.preset.predictor.heads,
        tokens_per_side=job.preset.tokens_per_side,
        rates=rates,
    )
    if isinstance(encoder, SmallEncoder):
        classifier.pool.load_state_dict(encoder.pool.state_dict())
    return classifier.to(job.team.device)


def _row(
    name: str,
    label: str,
    *,
    planner: Callable[[Setting], Planner] | None,
    observes: Observes,
    paper_obr: float,
    learned: str = "predictor, classifier",
) -> Entry:
    def make(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001 - one face for all rows
        return DenseWithoutLR(setting, name) if planner is None else Dense(setting, name, planner(setting))

    return Entry(
        name=name,
        stands_for=(f"Table 2: {label}",),
        observes=observes,
        regime="supervised",
        paper_obr=paper_obr,
        learned=learned,
        make=make,
    )


_ROWS = (
    _row(
        "ours-supervised",
        "Ours",
        planner=BySampler,
        observes="LR + HR",
        paper_obr=0.146,
        learned="sampler, predictor, classifier",
    ),
    _row("lr-only-supervised", "Ours-LR", planner=lambda _: NoTile(), observes="LR", paper_obr=0.0),
    _row("full-supervised", "Ours-Full", planner=lambda _: EveryTile(), observes="LR + HR", paper_obr=1.0),
    _row(
        "full-without-lr-supervised",
        "Ours w/o LR",
        planner=None,
        observes="HR",
        paper_obr=1.0,
        learned="classifier",
    ),
)

DENSE_ROWS: Mapping[str, Entry] = MappingProxyType({one.name: one for one in _ROWS})
"""By name."""
