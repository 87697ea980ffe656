import torch

from trainables.engine.examples import Shuffled, StackedExamples
from trainables.engine.model import evaluator_of, presentation_of

CPU = torch.device("cpu")
TRAIN = StackedExamples(torch.arange(8.0).view(2, 4, 1), torch.zeros(2, 4, dtype=torch.int64))


class Scaled:
    """A model of one parameter, which multiplies its inputs; it notes the masks that it gets."""

    def __init__(self):
        self.masks = []

    def forward(self, parameters, inputs, masks):
        self.masks.append(masks)
        return parameters.unsqueeze(2) * inputs


class Centred(Scaled):
    """One that is evaluated on inputs from which the mean of its training examples is taken, and shown in order."""

    def evaluator(self, parameters, train):
        mean = train.inputs.mean(1, keepdim=True)
        return lambda inputs: self.forward(parameters, inputs - mean, None)

    def presentation(self, seeds, device):
        return ("in order", tuple(seeds), device)


PARAMETERS = torch.tensor([[2.0], [3.0]], requires_grad=True)


def test_a_model_that_offers_nothing_is_shown_shuffled_examples_and_evaluated_without_dropout():
    model = Scaled()
    shown = presentation_of(model, [5, 6], CPU)
    assert isinstance(shown, Shuffled)
    order = shown.order(0, 4)
    assert order.sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * 2
    inputs, _ = shown.batch(TRAIN, order[:, :3], torch.tensor(0))
    assert torch.equal(inputs, torch.stack([TRAIN.inputs[row, order[row, :3]] for row in range(2)]))
    outputs = evaluator_of(model, PARAMETERS, TRAIN)(TRAIN.inputs)
    assert torch.equal(outputs, torch.tensor([2.0, 3.0]).view(2, 1, 1) * TRAIN.inputs)
    assert model.masks == [None]


def test_a_model_may_offer_how_it_is_shown_examples_and_evaluated():
    model = Centred()
    assert presentation_of(model, [5, 6], CPU) == ("in order", (5, 6), CPU)
    outputs = evaluator_of(model, PARAMETERS, TRAIN)(TRAIN.inputs)
    assert outputs.sum(1).abs().max() < 1e-5
    assert outputs[:, 3, 0].tolist() == [2 * 1.5, 3 * 1.5]
