"""Eq. 5 to 9 against plain references in float64, and the properties of the masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_model.objectives import masking, supervision
from reference_model.objectives.losses import RunningMean, centred_cosine, pairwise_sigmoid, spread


def test_centred_cosine_is_equation_8() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 3, 7, 5, generator=generator)
    mean = torch.randn(5, generator=generator)
    total = []
    for one, other in zip(predicted.double().reshape(-1, 5), target.double().reshape(-1, 5), strict=True):
        a, b = one.numpy() - mean.double().numpy(), other.numpy() - mean.double().numpy()
        total.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert centred_cosine(predicted, target, mean).item() == pytest.approx(1 - np.mean(total), abs=1e-6)


def test_no_gradient_flows_into_the_target() -> None:
    predicted, target = torch.randn(2, 4, 5, requires_grad=True).unbind()
    loss = centred_cosine(predicted.detach().requires_grad_(), target, torch.zeros(5))
    assert torch.autograd.grad(loss, [target], allow_unused=True)[0] is None


def test_a_constant_prediction_scores_about_one() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(4000, 16, generator=generator) + 3
    mean = target.mean(dim=0)
    constant = (mean + 1e-3 * torch.randn(16, generator=generator)).expand_as(target)
    assert centred_cosine(constant, target, mean) > 0.95
    assert centred_cosine(constant, target, torch.zeros(16)) < 0.2  # what Eq. 8 without the mean would say
    assert spread(constant) < 1e-6 < spread(target)


def test_the_running_mean_is_exact_and_frozen_in_evaluation() -> None:
    batches = torch.randn(20, 6, 3, generator=torch.Generator().manual_seed(0))
    running = RunningMean(3)
    for batch in batches:
        running(batch)
    torch.testing.assert_close(running.mean, batches.mean(dim=(0, 1)))
    before = running.mean.clone()
    running.eval()(batches[0])
    assert torch.equal(running.mean, before)


def test_pairwise_sigmoid_is_equation_9() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = torch.randn(3, 4, generator=generator), torch.randn(5, 4, generator=generator)
    labels = torch.rand(3, 5, generator=generator) < 0.4
    scale, bias = torch.tensor(0.7), torch.tensor(-1.5)
    expected = 0.0
    for i in range(3):
        for j in range(5):
            y = 1.0 if labels[i, j] else -1.0
            z = np.exp(0.7) * float(images[i].double() @ texts[j].double()) - 1.5
            expected -= np.log(1 / (1 + np.exp(-y * z)))
    assert pairwise_sigmoid(images, texts, labels, scale, bias).item() == pytest.approx(
        expected / 3, rel=1e-5
    )


def test_semantic_gain_is_equation_5() -> None:
    generator = torch.Generator().manual_seed(0)
    hr = torch.nn.functional.normalize(torch.randn(2, 100, 4, generator=generator), dim=-1)
    lr, texts = hr[:, 0], torch.nn.functional.normalize(torch.randn(6, 4, generator=generator), dim=-1)
    scale, bias, weight = torch.tensor(1.2), torch.tensor(-0.5), 0.8
    gain = supervision.semantic_gain(hr, lr, texts, log_scale=scale, bias=bias, weight=weight)

    def probability(image: torch.Tensor, text: torch.Tensor) -> float:
        return float(1 / (1 + np.exp(-(np.exp(1.2) * float(image.double() @ text.double()) - 0.5))))

    for scene, tile in ((0, 3), (1, 99)):
        each = [probability(hr[scene, tile], text) - weight * probability(lr[scene], text) for text in texts]
        assert gain[scene, tile].item() == pytest.approx(max(0.0, *each), abs=1e-5)
    assert supervision.semantic_gain(hr, lr, texts, log_scale=scale, bias=bias)[:, 0].max() == 0


def test_structural_cues_match_their_definition() -> None:
    tokens = torch.randn(3, 16, 8, generator=torch.Generator().manual_seed(0))
    cues = supervision.structural_cues(tokens)
    for tile in range(3):
        u = tokens[tile].double().numpy()
        u = u / np.linalg.norm(u, axis=1, keepdims=True)
        grid = u.reshape(4, 4, 8)
        pairs = [1 - (grid[1:] * grid[:-1]).sum(-1).ravel(), 1 - (grid[:, 1:] * grid[:, :-1]).sum(-1).ravel()]
        energy = np.linalg.svd(u - u.mean(0), compute_uv=False) ** 2
        share = energy[energy > 1e-12] / energy.sum()
        rank = np.exp(-(share * np.log(share)).sum())
        expected = [1 - np.linalg.norm(u.mean(0)) ** 2, np.concatenate(pairs).mean(), rank * energy.sum()]
        assert cues[tile].tolist() == pytest.approx(expected, rel=1e-4)


def test_a_flat_tile_has_no_structure() -> None:
    assert supervision.structural_cues(torch.ones(1, 16, 8)).abs().max() < 1e-5


@pytest.mark.parametrize("fusion", sorted(supervision.FUSIONS))
def test_targets_lie_on_one_scale_for_all_scenes(fusion: str) -> None:
    generator = torch.Generator().manual_seed(0)
    cues, gain = torch.rand(30, 100, 3, generator=generator), torch.rand(30, 100, generator=generator)
    fitted = supervision.Supervision.fit(cues, gain, fusion)
    targets = fitted.targets(cues, gain)
    assert targets.min() == 0
    assert targets.max() == 1
    assert fitted.targets(cues, gain * 0).max() == (
        0 if fusion in {"product", "semantic"} else pytest.approx(1, abs=0.6)
    )
    duller = fitted.targets(cues[:1] * 0.3, gain[:1] * 0.3)
    assert duller.mean() < targets[:1].mean()  # a simple scene asks for less than a rich one


def test_the_default_fusion_is_the_product_of_equation_6() -> None:
    a, b = torch.rand(2, 4, 100)
    assert torch.equal(supervision.FUSIONS["product"](a, b), a * b)
    assert supervision.Supervision.fit(torch.rand(2, 100, 3), torch.rand(2, 100)).fusion == "product"


def test_an_unknown_fusion_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"product, additive, structural, semantic.*'sum'"):
        supervision.Supervision.fit(torch.rand(2, 100, 3), torch.rand(2, 100), "sum")


@settings(max_examples=50, deadline=None)
@given(budgets=st.lists(st.integers(0, 100), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_masks_spend_exactly_their_budget(budgets: list[int], seed: int) -> None:
    for draw in (masking.scattered, masking.clustered):
        mask = draw(torch.tensor(budgets), torch.Generator().manual_seed(seed))
        assert mask.sum(dim=1).tolist() == budgets


def test_clustered_masks_have_more_neighbours_than_scattered_ones() -> None:
    budgets = torch.full((200,), 12)

    def neighbours(mask: torch.Tensor) -> float:
        grid = mask.view(-1, 10, 10)
        return float((grid[:, 1:] & grid[:, :-1]).sum() + (grid[:, :, 1:] & grid[:, :, :-1]).sum()) / len(
            mask
        )

    generator = torch.Generator().manual_seed(0)
    assert neighbours(masking.clustered(budgets, generator)) > 3 * neighbours(
        masking.scattered(budgets, generator)
    )


def test_random_budgets_cover_nothing_little_and_much() -> None:
    budgets = masking.random_budgets(20_000, torch.Generator().manual_seed(0))
    assert (budgets == 0).float().mean() == pytest.approx(0.107, abs=0.02)  # 0.1, and what rounds to 0
    assert (budgets > 50).float().mean() == pytest.approx(0.2, abs=0.02)
    assert int(budgets.max()) == 100
