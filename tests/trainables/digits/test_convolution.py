import pytest
import torch
from torch import Tensor

from trainables.digits.convolution import by_layers, by_patches, read_features


def inputs(towers: int, dtype: torch.dtype, replicates: int = 3, pairs: int = 5) -> tuple[Tensor, list[Tensor], Tensor]:
    """Images with many equal pixels, as digits have; weights and biases; a scale of which some is 0.

    Half of the first biases are 0, so that some hidden values are.
    """
    generator = torch.Generator().manual_seed(towers)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)

    images = (draw(replicates, pairs, 2, 14, 14) - 0.8).clamp(min=0)
    shapes = ((16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,))
    parameters = [draw(replicates, towers, *shape) - 0.5 for shape in shapes]
    parameters[1][..., ::2] = 0
    return (
        images,
        [p.requires_grad_() for p in parameters],
        (draw(replicates, pairs, 2, 32) > 0.5) * draw(replicates, pairs, 2, 32) * 3,
    )


@pytest.mark.parametrize("towers", [1, 2])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_features_and_gradients_are_those_of_the_layers(
    towers: int, scaled: bool, dtype: torch.dtype, tolerance: float
) -> None:
    images, parameters, scale = inputs(towers, dtype)
    results = []
    for way in (by_layers, by_patches):
        features = way(images, tuple(parameters[:2]), tuple(parameters[2:]), scale if scaled else None)  # type: ignore[arg-type]
        assert features.shape == (3, 2, 5, 128)
        weights = torch.linspace(-1, 1, features.numel(), dtype=dtype).view(features.shape)
        results.append([features, *torch.autograd.grad(features, parameters, weights)])
    for there, on_gpus in zip(*results, strict=True):
        torch.testing.assert_close(on_gpus, there, rtol=tolerance, atol=tolerance)


def test_the_first_of_equal_corners_wins_and_leaky_relu_has_its_slope_at_zero() -> None:
    """The second block adds nothing but 0, so all its windows are equal; of the first block only one corner is lit."""
    images = torch.zeros(1, 1, 2, 14, 14, dtype=torch.float64)
    images[0, 0, 0, 1, 1] = 3  # seen by the four windows of the first place; by the first one in its middle
    weight1 = torch.zeros(1, 1, 16, 1, 3, 3, dtype=torch.float64)
    weight1[0, 0, :, 0, 1, 1] = 1  # what a window sees in its middle
    weight2 = torch.zeros(1, 1, 32, 16, 3, 3, dtype=torch.float64, requires_grad=True)
    bias1 = torch.zeros(1, 1, 16, dtype=torch.float64)
    bias2 = torch.zeros(1, 1, 32, dtype=torch.float64, requires_grad=True)
    features = read_features(images, (weight1, bias1), (weight2, bias2), None)
    by_bias, by_weight = torch.autograd.grad(features.sum(), [bias2, weight2])
    assert features.eq(0).all()
    torch.testing.assert_close(by_bias, torch.full_like(by_bias, 2 * 4 * 0.01))  # images, places, slope at 0
    # Of 36 hidden values the first is 3. The first place's first window has it at its first weight; no other place has.
    expected = torch.zeros_like(by_weight)
    expected[..., 0, 0] = 3 * 0.01
    torch.testing.assert_close(by_weight, expected)


def test_a_weight_that_is_not_a_number_shows_in_the_features() -> None:
    images, parameters, _ = inputs(1, torch.float32)
    with torch.no_grad():
        parameters[0][1, 0, 7, 0, 2, 2] = torch.nan
    features = read_features(images, (parameters[0], parameters[1]), (parameters[2], parameters[3]), None)
    assert features[1].isnan().all()
    assert features[[0, 2]].isfinite().all()
