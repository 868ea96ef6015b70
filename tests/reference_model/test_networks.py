"""Shapes, and that an unselected tile is never read."""

import pytest
import torch
from torch import Tensor

from reference_model.networks.compiling import compile_blocks
from reference_model.networks.encoder import EncoderParameters, SmallEncoder
from reference_model.networks.head import SceneHead
from reference_model.networks.positions import grid_to_tiles, sincos, tiles_to_grid, turned
from reference_model.networks.predictor import Predictor, PredictorParameters, integrated
from reference_model.networks.sampler import Sampler, SamplerParameters
from reference_model.networks.text import TextTower, letter_groups

FEATURES, SIDE = 12, 2


def predictor(bottleneck: int = 1) -> Predictor:
    torch.manual_seed(0)
    parameters = PredictorParameters(dim=16, depth=2, heads=2, bottleneck=bottleneck)
    net = Predictor(parameters, features=FEATURES, tokens_per_side=SIDE, context_side=3)
    for value in net.parameters():  # residual branches begin silent; wake them
        torch.nn.init.normal_(value, std=0.2)
    return net


def scene(batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tiles = torch.randn(batch, 100, SIDE**2, FEATURES, generator=generator)
    return tiles, torch.randn(batch, 9, FEATURES, generator=generator)


@pytest.mark.parametrize("bottleneck", [1, 2])
@pytest.mark.parametrize("observed", [0, 12, 100])
def test_the_predictor_fills_the_scene_whatever_is_observed(bottleneck: int, observed: int) -> None:
    tiles, context = scene()
    selected = (torch.arange(100) < observed).expand(2, -1)
    filled = predictor(bottleneck)(tiles[selected], selected, context)
    assert filled.shape == tiles.shape
    assert torch.isfinite(filled).all()


def test_unselected_tiles_reach_neither_output_nor_gradient() -> None:
    tiles, context = scene()
    selected = torch.rand(2, 100, generator=torch.Generator().manual_seed(2)) < 0.2
    poisoned = torch.where(selected[..., None, None], tiles, torch.nan)
    results = []
    for features in (tiles, poisoned):
        net = predictor()
        out = integrated(net(features[selected], selected, context), features[selected], selected)
        torch.autograd.backward(out.square().sum())
        gradients = [value.grad for value in net.parameters() if value.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        results.append(out.detach())
    assert torch.equal(*results)


def test_an_observed_tile_informs_unobserved_ones() -> None:
    tiles, context = scene(1)
    selected = torch.arange(100)[None] == 44
    net = predictor()
    near = net(tiles[selected], selected, context)[0, 45]
    assert not torch.allclose(near, net(tiles[selected] + 1, selected, context)[0, 45])


def test_full_observation_passes_through_unchanged() -> None:
    tiles, context = scene()
    everything = torch.ones(2, 100, dtype=torch.bool)
    predicted = predictor()(tiles[everything], everything, context)
    assert torch.equal(integrated(predicted, tiles[everything], everything), tiles)


def test_half_precision_changes_a_completed_scene_by_less_than_a_hundredth() -> None:
    tiles, context = scene()
    selected = (torch.arange(100) < 12).expand(2, -1)
    net = predictor(bottleneck=2)
    with torch.no_grad():
        whole = integrated(net(tiles[selected], selected, context), tiles[selected], selected)
        with torch.autocast("cpu", torch.bfloat16):
            half = integrated(net(tiles[selected], selected, context), tiles[selected], selected)
    assert half.dtype == torch.float32
    assert 0 < (whole - half).norm() / whole.norm() < 1e-2


def test_a_pooling_window_that_straddles_tiles_is_refused() -> None:
    with pytest.raises(ValueError, match="straddles"):
        predictor(bottleneck=3)


def test_tile_tokens_lie_on_the_scene_grid_as_on_the_ground() -> None:
    tokens = torch.arange(100 * 4).view(1, 100, 4, 1)
    grid = tiles_to_grid(tokens)
    assert grid[0, :2, 2:4, 0].tolist() == [[4, 5], [6, 7]]  # tile 1 lies east of tile 0
    assert grid[0, 2:4, :2, 0].tolist() == [[40, 41], [42, 43]]  # tile 10 lies south of it
    assert torch.equal(grid_to_tiles(grid), tokens)


def test_positions_differ_everywhere() -> None:
    positions = sincos(20, 16)
    assert positions.shape == (400, 16)
    assert torch.pdist(positions).min() > 0.01


def test_the_eight_turns_are_different_and_turn_tiles_with_the_image() -> None:
    board = torch.arange(9.0).view(1, 3, 3)
    turns = {tuple(turned(board, turn, rows=1).flatten().tolist()) for turn in range(8)}
    assert len(turns) == 8
    image = board[:, None].repeat_interleave(4, 2).repeat_interleave(4, 3)
    for turn in range(8):
        cells = turned(image, turn, rows=2)[:, 0, ::4, ::4]
        assert torch.equal(cells, turned(board, turn, rows=1))


def test_the_sampler_begins_at_the_mean_target() -> None:
    sampler = Sampler(SamplerParameters(dim=16, depth=1, heads=2), features=FEATURES)
    sampler.start_at(0.07)
    images = torch.randint(0, 256, (2, 3, 268, 268), dtype=torch.uint8)
    logits = sampler(images, torch.randn(2, 9, FEATURES))
    assert logits.shape == (2, 100)
    torch.testing.assert_close(logits.sigmoid(), torch.full((2, 100), 0.07))


def test_a_sampler_input_that_is_no_multiple_of_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="power of two"):
        Sampler(SamplerParameters(input_px=268), features=FEATURES)


def test_the_encoder_gives_tokens_and_embeddings_of_length_one() -> None:
    encoder = SmallEncoder(EncoderParameters(input_px=64, dim=24, depth=1, heads=2, embedding=10))
    tokens = encoder.tokens(torch.randint(0, 256, (3, 3, 268, 268), dtype=torch.uint8), "hr")
    assert tokens.shape == (3, encoder.grid**2, 24)
    torch.testing.assert_close(encoder.embed(tokens).norm(dim=1), torch.ones(3))


def test_a_head_that_begins_as_the_encoders_pool_sees_a_uniform_scene_as_a_tile() -> None:
    encoder = SmallEncoder(EncoderParameters(input_px=32, dim=24, depth=1, heads=2, embedding=10))
    head = SceneHead(features=24, heads=2, embedding=10, tokens_per_side=2)
    head.pool.load_state_dict(encoder.pool.state_dict())
    head.project.load_state_dict(encoder.project.state_dict())
    tile = torch.randn(1, 4, 24)
    torch.testing.assert_close(head(tile[:, None].expand(1, 100, 4, 24)), encoder.embed(tile))


def test_texts_are_the_same_on_every_machine() -> None:
    assert (
        letter_groups("Dam").nonzero().flatten().tolist() == letter_groups("DAM").nonzero().flatten().tolist()
    )
    assert letter_groups("Dam").count_nonzero() == 6  # <da dam am> <dam dam> <dam>
    embedded = TextTower(8)(("Dam", "Lake"))
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch warns of its own calls while it compiles
def test_compiled_blocks_compute_the_same_and_keep_their_names() -> None:
    """Slow: the compiler takes its time."""
    tiles, context = scene()
    selected = (torch.arange(100) < 12).expand(2, -1)
    net = predictor(bottleneck=2)
    names, plain = list(net.state_dict()), net(tiles[selected], selected, context)
    compile_blocks(net)
    compiled = net(tiles[selected], selected, context)
    assert list(net.state_dict()) == names
    torch.testing.assert_close(compiled, plain, atol=1e-4, rtol=1e-4)
    torch.autograd.backward(compiled.square().sum())
    assert all(torch.isfinite(value.grad).all() for value in net.parameters() if value.grad is not None)
