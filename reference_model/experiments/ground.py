"""The setting of one seed: its world, its vision-language model, its encodings."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from reference_model.determinism import threads
from reference_model.experiments.protocol import Protocol
from reference_model.face import Setting
from reference_model.feature_cache import extract
from reference_model.holdout import assign
from reference_model.job import FEATURES, Job, Say
from reference_model.run import open_run
from reference_model.weights_file import digest_of
from reference_model.world.scenes import World
from reference_model.world.vision_language import trained_on_the_web


@contextlib.contextmanager
def opened(protocol: Protocol, seed: int, folder: Path, say: Say) -> Iterator[tuple[Setting, World]]:
    """Open a seed's run folder; what it lacks is made.

    Args:
        protocol: decides everything beside the seed.
        seed: one of the protocol's, or one to try things on.
        folder: the run folder.
        say: takes lines for the user.

    Raises:
        RunMismatchError: the folder holds another protocol or seed.
        RunBusyError: another process is at work in it.
    """
    world = World(seed, protocol.scenes, protocol.knobs)
    catalogue = world.catalogue()
    settings = {**protocol.settings(), "seed": seed}
    with open_run(folder, settings) as run, threads(protocol.preset.threads):
        say("vision-language model: the web world")
        encoder, texts = trained_on_the_web(run, protocol.vision_language, protocol.knobs, seed)
        job = Job(
            run=run,
            preset=protocol.preset,
            seed=seed,
            target_obr=protocol.target_obr,
            scenes=world,
            catalogue=catalogue,
            roles=assign(world.splits, catalogue.bounds, seed),
        )
        say("features: every image encoded once")
        features = extract(
            world,
            encoder,
            tokens_per_side=protocol.preset.tokens_per_side,
            folder=run.folder / FEATURES,
            made_from={"world": catalogue.digest(), "weights": digest_of(encoder.state_dict())},
            kept_as=protocol.preset.kept_as,
        )
        yield Setting(job=job, encoder=encoder, features=features, texts=texts), world
