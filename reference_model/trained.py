"""The model behind the encoder: its stages are read back from the run folder, or trained one by one."""

from dataclasses import dataclass

from torch import Tensor

from reference_model import stages
from reference_model.alignment import trained_head
from reference_model.features import Features
from reference_model.job import Job, Say
from reference_model.metrics.observation_cost import Calibration
from reference_model.networks.encoder import Backbone
from reference_model.networks.head import SceneHead
from reference_model.networks.predictor import Predictor
from reference_model.objectives.supervision import Supervision
from reference_model.pretrain import Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """All of it, and what it was taught."""

    supervision: Supervision
    targets: Tensor
    """G* of all scenes, float32 (scenes, 100) in [0, 1]; tile = 10 * row + column, north-west first."""

    scores: Tensor
    """What the sampler predicts from LR alone, of the same shape, in (0, 1)."""

    calibration: Calibration
    predictor: Predictor
    """As stage II has left it."""

    mean: Tensor
    """mu of Eq. 8, (dim,)."""

    head: SceneHead


def trained_model(job: Job, *, encoder: Backbone, features: Features, texts: Texts, say: Say) -> Trained:
    """Train sampler, threshold, predictor (stage I) and head (stage II), or read them back.

    Args:
        job: what is trained on.
        encoder: frozen.
        features: every image through it.
        texts: class names in its space.
        say: takes lines for the user.
    """
    say("sampler: the worth of a tile, from LR alone")
    supervision, targets = stages.worth(job, features, texts)
    sampler = stages.trained_sampler(job, features, supervision, targets)
    scores = stages.predicted_worth(job.scenes, encoder, sampler)
    calibration = stages.calibrated(job, scores)
    say("predictor: the whole scene from some of its tiles (stage I)")
    predictor, mean = stages.trained_predictor(job, features, encoder)
    say("head: the completed scene against class names (stage II)")
    head = trained_head(
        job,
        features=features,
        encoder=encoder,
        texts=texts,
        predictor=predictor,
        mean=mean,
        normalised=calibration.normalised(scores),
    )
    return Trained(
        supervision=supervision,
        targets=targets,
        scores=scores,
        calibration=calibration,
        predictor=predictor,
        mean=mean.mean,
        head=head,
    )
