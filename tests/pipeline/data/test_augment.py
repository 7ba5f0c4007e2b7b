import pytest
import torch
import torchvision.transforms.v2.functional as TF

from pipeline.config.network import Normalisation
from pipeline.data import augment
from pipeline.types import IGNORE

SIZE = (32, 48)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def striped(size: tuple[int, int] = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    """An image whose red value is 10 times its class index: broad vertical stripes."""
    mask_HW = (torch.arange(size[1]) // 8).expand(size).contiguous().to(torch.uint8)
    return (mask_HW * 10).expand(3, *size).contiguous(), mask_HW


@pytest.mark.parametrize("seed", range(12))
def test_weak_view_moves_image_and_mask_together(seed: int) -> None:
    image, mask, valid = augment.weak_view(*striped(), seeded(seed), size=SIZE)
    assert image.shape == (3, *SIZE)
    assert mask.shape == valid.shape == SIZE
    assert image.dtype == mask.dtype == torch.uint8
    assert torch.equal(mask == IGNORE, ~valid)
    assert (image[:, ~valid] == 0).all()
    agree = (image[0].float() / 10 - mask.float()).abs()[valid] < 0.5
    # Between two stripes the image is a mixture; the rest must agree.
    assert agree.float().mean() > 0.9


def test_weak_view_pads_bottom_and_right_and_covers_the_scale_range() -> None:
    generator = seeded()
    shares = []
    for _ in range(200):
        valid = augment.weak_view(*striped(), generator, size=SIZE)[2]
        assert valid[0].any()
        rows, columns = valid.any(1), valid.any(0)
        assert torch.equal(rows, rows.sort(descending=True)[0])
        assert torch.equal(valid, rows[:, None] & columns[None, :])
        shares.append(rows.float().mean().item())
    # Scale below 1 in a third of the draws: U(0.5, 2).
    assert min(shares) == pytest.approx(0.5, abs=0.05)
    assert 0.2 < sum(share < 1 for share in shares) / 200 < 0.47


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_of_a_large_image_is_a_rescaled_part_of_it(seed: int) -> None:
    """Rows and columns of the image are told from its colours: the part has the crop's shape."""
    size = (200, 250)
    rows, columns = torch.meshgrid(torch.arange(200), torch.arange(250), indexing="ij")
    image_CHW = torch.stack([rows, columns, torch.zeros(size)]).to(torch.uint8)
    view, _, valid = augment.weak_view(image_CHW, None, seeded(seed), size=SIZE)
    assert valid.all()
    height, width = (view[place].float().max() - view[place].float().min() for place in (0, 1))
    low, high = (SIZE[0] / scale for scale in augment.SCALE_RANGE[::-1])
    assert low - 3 <= height <= high + 1
    # Neither squeezed nor stretched.
    assert width / height == pytest.approx(SIZE[1] / SIZE[0], rel=0.15)
    steps = view[0].float().mean(1).diff()
    assert steps.min() >= 0  # the rows in their order, whether mirrored or not


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_a_labelled_pixel_is_found_by_its_number(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "PIXELS_AT_ONCE", rows * 7)
    mask = torch.randint(0, 3, (11, 7), generator=torch.Generator().manual_seed(0))
    mask[mask == 2] = IGNORE
    labelled = (mask != IGNORE).nonzero().tolist()
    found = [augment._labelled_pixel(mask, number) for number in range(len(labelled))]
    assert found == labelled
    with pytest.raises(ValueError, match="1 more"):
        augment._labelled_pixel(torch.full((2, 7), IGNORE), 1)


def test_a_crop_goes_where_something_is_labelled() -> None:
    mask_HW = torch.full((400, 600), IGNORE, dtype=torch.uint8)
    mask_HW[300:304, 500:504] = 1
    image_CHW = (mask_HW == 1).to(torch.uint8).expand(3, 400, 600) * 255
    generator = seeded()
    places = []
    for _ in range(50):
        image, mask, valid = augment.weak_view(image_CHW, mask_HW, generator, size=SIZE)
        assert (mask == 1).any()
        assert (image[0][mask == 1] >= 50).all()
        assert valid.all()
        places.append((mask == 1).nonzero()[0].tolist())
    # Anywhere in the crop: a network must not learn that labels lie in the middle.
    spread = torch.tensor(places, dtype=torch.float).std(0)
    assert (spread > torch.tensor(SIZE) / 8).all()


def test_the_middle_of_an_image() -> None:
    image_CHW = torch.arange(3 * 10 * 20, dtype=torch.int32).reshape(3, 10, 20)
    assert torch.equal(augment.middle_view(image_CHW, (4, 6)), image_CHW[:, 3:7, 7:13])
    padded = augment.middle_view(image_CHW[0], (12, 6), fill=-1)
    assert torch.equal(padded[:10], image_CHW[0, :, 7:13])
    assert (padded[10:] == -1).all()


def test_weak_view_flips_half_of_the_time() -> None:
    generator = seeded(3)
    flipped = 0
    for _ in range(200):
        _, mask, valid = augment.weak_view(*striped(), generator, size=SIZE)
        row = mask[0][valid[0]]
        flipped += int(row[0] > row[-1])
    assert 70 < flipped < 130


def test_weak_view_without_mask_is_all_ignore_and_draws_the_same() -> None:
    image_CHW, mask_HW = striped()
    with_mask = augment.weak_view(image_CHW, mask_HW, seeded(), size=SIZE)
    without = augment.weak_view(image_CHW, None, seeded(), size=SIZE)
    assert torch.equal(with_mask[0], without[0])
    assert torch.equal(with_mask[2], without[2])
    assert (without[1] == IGNORE).all()


def test_views_are_the_generators() -> None:
    images_BCHW = torch.rand(3, 3, *SIZE, generator=seeded(1))
    torch.manual_seed(0)
    first = augment.strong_view(images_BCHW, seeded(5))
    weak = augment.weak_view(*striped(), seeded(5), size=SIZE)
    torch.manual_seed(1)
    assert torch.equal(first, augment.strong_view(images_BCHW, seeded(5)))
    assert not torch.equal(first, augment.strong_view(images_BCHW, seeded(6)))
    again = augment.weak_view(*striped(), seeded(5), size=SIZE)
    assert all(torch.equal(one, other) for one, other in zip(weak, again, strict=True))


def test_strong_view_stays_in_range_and_leaves_its_input_alone() -> None:
    images_BCHW = torch.rand(16, 3, *SIZE, generator=seeded(1))
    before = images_BCHW.clone()
    views = augment.strong_view(images_BCHW, seeded())
    assert views.shape == images_BCHW.shape
    assert views.min() >= 0
    assert views.max() <= 1
    assert torch.equal(images_BCHW, before)


def test_strong_view_applies_each_change_at_its_rate() -> None:
    images_BCHW = torch.rand(1000, 3, 16, 16, generator=seeded(1))
    views = augment.strong_view(images_BCHW, seeded(2))
    grey = (views[:, 0] - views[:, 1]).abs().amax((1, 2)) < 1e-5
    untouched = (views - images_BCHW).abs().amax((1, 2, 3)) < 1e-6
    assert 0.15 < grey.float().mean() < 0.25
    # No jitter (.2), no grey (.8), no blur (.5).
    assert 0.05 < untouched.float().mean() < 0.12


@pytest.mark.parametrize("turn", [-0.25, 0.0, 0.1, 0.5])
def test_turn_hue_equals_torchvision(turn: float) -> None:
    images_BCHW = torch.rand(2, 3, 24, 24, generator=seeded())
    images_BCHW[0, :, :4] = images_BCHW[0, :1, :4]  # grey has no hue
    turned = augment.turn_hue(images_BCHW, torch.full((2, 1, 1, 1), turn))
    assert torch.allclose(turned, TF.adjust_hue(images_BCHW, turn), atol=1e-5)


def test_jitters_equal_torchvision() -> None:
    images_BCHW = torch.rand(1, 3, 24, 24, generator=seeded())
    factor = torch.full((1, 1, 1, 1), 1.4)
    pairs = zip(
        augment.JITTERS,
        (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation),
        strict=False,
    )
    for ours, theirs in pairs:
        # torchvision rounds the luma weights to four digits.
        assert torch.allclose(ours(images_BCHW, factor), theirs(images_BCHW, 1.4), atol=1e-3)


def test_gaussian_blur_gives_each_image_its_own_sigma() -> None:
    images_BCHW = torch.rand(2, 3, 24, 24, generator=seeded())
    blurred = augment.gaussian_blur(images_BCHW, torch.tensor([0.7, 2.0]))
    for index, sigma in enumerate((0.7, 2.0)):
        expected = TF.gaussian_blur(images_BCHW[index], [13, 13], [sigma, sigma])
        assert torch.allclose(blurred[index], expected, atol=1e-5)


def test_normalise_by_hand() -> None:
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert torch.allclose(augment.normalise(white, "symmetric"), torch.ones(1, 3, 2, 2))
    expected = (1 - 0.406) / 0.225
    assert augment.normalise(white, "imagenet")[0, 2, 0, 0].item() == pytest.approx(expected)
    grey = torch.full((3, 2, 2), 0.5)
    assert torch.allclose(augment.normalise(grey, "symmetric"), torch.zeros(3, 2, 2))


@pytest.mark.parametrize("kind", ["imagenet", "symmetric"])
def test_what_was_normalised_is_found_again(kind: Normalisation) -> None:
    images = torch.rand(2, 3, 4, 5)
    found = augment.denormalise(augment.normalise(images, kind), kind)
    torch.testing.assert_close(found, images)
    assert augment.denormalise(torch.full((3, 1, 1), 99.0), kind).max() == 1


def test_boxes_have_the_area_aspect_and_rate_asked_for() -> None:
    boxes = augment.random_boxes(seeded(), 400, 48, 64, 0.5)
    assert boxes.dtype == torch.bool
    assert boxes.shape == (400, 48, 64)
    drawn = boxes[boxes.any((1, 2))].float()
    assert 160 < len(drawn) < 240
    areas = drawn.mean((1, 2))
    assert areas.min() > 0.015
    assert areas.max() < 0.42
    assert 0.12 < areas.mean() < 0.26
    heights, widths = drawn.amax(2).sum(1), drawn.amax(1).sum(1)
    assert torch.equal(heights * widths, drawn.sum((1, 2)))  # one full box
    assert (heights / widths).min() > 0.25
    assert (heights / widths).max() < 3.8


def test_a_box_that_does_not_fit_keeps_its_area(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10x20 pixels: .21 of them are 42, 6x6 at the aspect 1; the first place is too low."""
    middle = (0.21 - 0.02) / 0.38
    even = (1 - 0.3) / (1 / 0.3 - 0.3)
    draws = iter([[0.0], [middle], [even, 0.5, 0.1], [even, 0.4, 0.65]])

    def rand(*_: object, generator: torch.Generator) -> torch.Tensor:
        values = next(draws)
        return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)

    monkeypatch.setattr(torch, "rand", rand)
    (box_HW,) = augment.random_boxes(seeded(), 1, 10, 20, 1.0)
    assert box_HW[4:10, 13:19].all()
    assert box_HW.sum() == 36


def test_boxes_have_the_mean_area_and_place_of_the_papers_code() -> None:
    """20,000 boxes by its rule in plain Python: .204 of the image, the centre in .49 of them."""
    boxes = augment.random_boxes(seeded(), 3000, 64, 64, 1.0).float()
    assert boxes.mean().item() == pytest.approx(0.204, abs=0.01)
    assert boxes[:, 32, 32].mean().item() == pytest.approx(0.49, abs=0.03)


def test_an_image_without_room_for_such_a_box_gets_what_fits() -> None:
    assert augment.random_boxes(seeded(), 3, 8, 400, 1.0).any((1, 2)).all()


def test_boxes_at_the_ends_of_probability() -> None:
    assert not augment.random_boxes(seeded(), 20, 32, 32, 0.0).any()
    assert augment.random_boxes(seeded(), 20, 32, 32, 1.0).any((1, 2)).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_labelled_region_moves_with_its_image_and_nothing_else_gets_a_label(seed: int) -> None:
    image_CHW = torch.zeros(3, 64, 96, dtype=torch.uint8)
    image_CHW[:, 20:36, 40:64] = 255
    mask_HW = torch.full((64, 96), IGNORE, dtype=torch.uint8)
    mask_HW[20:36, 40:64] = 1
    draw = torch.Generator().manual_seed(seed)
    image, mask, _ = augment.weak_view(image_CHW, mask_HW, draw, size=(64, 96))
    # Bright only where the region is; half-way at its rescaled edges, a quarter at its corners.
    assert (image[0][mask == 1] >= 50).all()
    assert (image[0][mask == IGNORE] <= 155).all()
