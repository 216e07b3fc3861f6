"""How clips are described to the router: by what they sound like, and by nothing that only data sets differ in."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cl_ast.audio import reading as audio
from cl_ast.audio import synthesis as synth
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.backbone import pretrained as checkpoints
from cl_ast.errors import BackboneError, CorruptRegistryError
from cl_ast.router import KINDS, Router, RouterSpace, learn, sound_of
from cl_ast.router.copies import COPIES, coded, copies, low_passed, second_of
from cl_ast.router.kinds import State
from cl_ast.router.space import is_current, kind_in, layers_of
from cl_ast.router.task_routing import TaskRouting

Change = Callable[[Waveform], np.ndarray]
Tasks = dict[str, dict[str, TaskRouting]]

BOTH = pytest.mark.parametrize("kind", list(KINDS))


@pytest.fixture(scope="module")
def space() -> RouterSpace:
    return RouterSpace.of(checkpoints.load("ast-mini"))


def clips(maker: synth.Maker, count: int, seed: int, seconds: float = 1.2) -> list[Waveform]:
    random = np.random.default_rng(seed)
    return [synth.render(maker, random, seconds) for _ in range(count)]


def described(space: RouterSpace, training: list[Waveform], validation: list[Waveform]) -> tuple[Tensor, Tensor]:
    """Describe the clips to learn from, the clips to calibrate with, and the altered copies of both."""
    return with_copies(space, training), with_copies(space, validation)


def with_copies(space: RouterSpace, some: list[Waveform]) -> Tensor:
    each = zip(*(copies(clip) for clip in some), strict=True)
    return torch.cat([space.describe(version) for version in each])


def learned(kind: str, training: Tensor, validation: Tensor, noise: State | None = None) -> TaskRouting:
    targets = [0] * (len(training) // COPIES)
    generator = torch.Generator().manual_seed(0)
    return learn(training, targets, validation, generator=generator, kind=kind, copies=COPIES, noise=noise)


MAKERS = {"machines": synth.siren, "animals": synth.dog, "narrow": synth.syllables("ba-di-to")}


def recorded(name: str, count: int, seed: int) -> list[Waveform]:
    """Make clips of a task; those of `narrow` have no treble, as recordings at 8 kHz have none."""
    found = clips(MAKERS[name], count, seed, seconds=1.0)
    return [low_passed(clip) for clip in found] if name == "narrow" else found


@pytest.fixture(scope="module")
def tasks(space: RouterSpace) -> Tasks:
    """Each kind's routing of each task, learned from the same 12 clips."""
    made = {name: described(space, recorded(name, 12, 10), recorded(name, 20, 60)) for name in MAKERS}
    return {kind: {name: learned(kind, *both) for name, both in made.items()} for kind in KINDS}


@pytest.mark.slow
@given(st.integers(1, 5 * SAMPLE_RATE), st.sampled_from([0.0, 1e-6, 0.1, 30.0]), st.sampled_from([1.0, 0.01]))
@settings(max_examples=50, deadline=None)
def test_what_is_described_is_at_most_three_seconds_of_finite_sound(length: int, level: float, share: float) -> None:
    random = np.random.default_rng(length)
    clip = (level * random.normal(size=length) * (random.random(length) < share)).astype(np.float32)
    sound = sound_of(clip)
    assert sound.dtype == np.float32 and np.isfinite(sound).all()
    assert 0.3 * SAMPLE_RATE <= len(sound) <= 3 * SAMPLE_RATE
    assert len(sound) % (SAMPLE_RATE // 10) == 0


@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from([0.0, 0.003]))
@settings(max_examples=10, deadline=None)
def test_of_faint_noise_a_quarter_of_a_second_is_left(before: int, after: int, level: float) -> None:
    """However long the silence or the faint noise around a call is, the call is what is described."""
    (call,) = clips(synth.dog, 1, seed=3, seconds=1.0)
    faint = _noise((before + after) * SAMPLE_RATE, level * float(np.std(call)))
    padded = np.concatenate([faint[: before * SAMPLE_RATE], call, faint[before * SAMPLE_RATE :]]).astype(np.float32)
    sound = sound_of(padded)
    assert len(sound) <= 1.5 * SAMPLE_RATE
    peak = int(np.abs(call).argmax())
    assert abs(int(np.abs(sound).argmax()) - peak - SAMPLE_RATE // 4) < SAMPLE_RATE // 4 + SAMPLE_RATE // 100
    if not level:
        np.testing.assert_allclose(sound, sound_of(call), atol=1e-6)


def test_where_pieces_of_a_clip_meet_no_treble_appears() -> None:
    """Low notes with silence between: what is joined is as free of treble as they are."""
    time = np.arange(SAMPLE_RATE // 3) / SAMPLE_RATE
    note = (np.sin(2 * np.pi * 300 * time) * np.sin(np.pi * 3 * time)).astype(np.float32)
    sound = sound_of(np.tile(np.concatenate([note, np.zeros(4000, np.float32)]), 4))
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    treble = 3400 * len(sound) // SAMPLE_RATE
    assert power[treble:].sum() < 1e-6 * power.sum()


CHANGES: dict[str, Change] = {
    "padded after": lambda c: np.pad(c, (0, 3 * SAMPLE_RATE)),
    "padded before": lambda c: np.pad(c, (SAMPLE_RATE, 0)),
    "padded with faint noise": lambda c: np.concatenate([c, _noise(2 * SAMPLE_RATE, float(0.003 * np.std(c)))]),
    "quieter": lambda c: 0.01 * c,
    "three times as long": lambda c: np.tile(c, 3),
    "as ogg": lambda c: coded(c, "OGG", 0.5),
    "as mp3": lambda c: coded(c, "MP3", 0.5),
    "as 16 bits": lambda c: _rewritten(c),
}


def _noise(samples: int, level: float) -> np.ndarray:
    return np.random.default_rng(1).normal(size=samples) * level


def _rewritten(clip: Waveform) -> Waveform:
    file = io.BytesIO()
    soundfile.write(file, clip, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return audio.read(file.getvalue())


@pytest.fixture(scope="module")
def originals() -> list[Waveform]:
    return clips(synth.engine, 4, seed=1, seconds=1.0)


@pytest.fixture(scope="module")
def unchanged_and_others(space: RouterSpace, originals: list[Waveform]) -> tuple[Tensor, Tensor]:
    """The descriptions of the originals, and of other clips."""
    return space.describe(originals), space.describe(clips(synth.birds, 4, seed=2))


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_padding_level_length_and_codec_hardly_move_a_clip(
    space: RouterSpace, originals: list[Waveform], unchanged_and_others: tuple[Tensor, Tensor], change: Change
) -> None:
    unchanged, others = unchanged_and_others
    changed = space.describe([change(clip).astype(np.float32) for clip in originals])
    same = (unchanged * changed).sum(dim=1)
    other = (changed @ others.T).amax(dim=1)
    assert (same - other).min() > 0.2


def test_a_description_does_not_depend_on_the_other_clips_of_its_batch(space: RouterSpace) -> None:
    originals = clips(synth.dog, 3, 1) + clips(synth.rain, 2, 2, seconds=4.0)
    together = space.describe(originals)
    alone = torch.cat([space.describe([clip]) for clip in originals])
    assert torch.allclose(together, alone, atol=1e-4)
    assert space.describe([]).shape == (0, space.dimensions)


def test_the_background_comes_back_and_fits_one_backbone_only(space: RouterSpace, tmp_path: Path) -> None:
    originals = clips(synth.siren, 2, 5)
    again = RouterSpace.from_bytes(space.to_bytes(), space.backbone)
    assert torch.equal(again.describe(originals), space.describe(originals))
    assert (again.description_id, again.kind) == (space.description_id, space.kind)
    points = space.describe(originals)
    assert again.noise is not None
    assert space.noise is not None
    assert torch.equal(again.noise.fit(points), space.noise.fit(points))
    from transformers import ASTConfig, ASTModel

    config = ASTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_length=64)
    ASTModel(config).save_pretrained(tmp_path)
    other = checkpoints.load(str(tmp_path))
    with pytest.raises(BackboneError, match=r"another backbone.*or with other layers.*cl-ast route"):
        RouterSpace.from_bytes(space.to_bytes(), other)
    assert RouterSpace(other, torch.zeros(0), torch.zeros(0)).description_id != space.description_id


def test_other_layers_and_another_recipe_are_errors_with_a_sentence(
    space: RouterSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = space.to_bytes()
    monkeypatch.setattr("cl_ast.router.space.layers_of", lambda depth: 3)
    assert RouterSpace(space.backbone, torch.zeros(0), torch.zeros(0)).description_id != space.description_id
    with pytest.raises(BackboneError, match="other layers"):
        RouterSpace.from_bytes(data, space.backbone)
    monkeypatch.undo()
    monkeypatch.setattr("cl_ast.router.space.DESCRIPTION_VERSION", 99)
    assert not is_current(data)
    assert kind_in(data) == space.kind
    with pytest.raises(BackboneError, match=r"another release.*cl-ast route"):
        RouterSpace.from_bytes(data, space.backbone)


@pytest.mark.parametrize("name", ["mean", "whitening", "noise.centre"])
def test_a_background_of_other_tensors_is_refused(space: RouterSpace, name: str) -> None:
    from safetensors.torch import load, save

    good = load(space.to_bytes())
    for changed in ({**good, name: good[name][:5].clone()}, {**good, name: torch.full_like(good[name], torch.nan)}):
        data = save(changed, metadata=space._header())
        with pytest.raises(CorruptRegistryError):
            RouterSpace.from_bytes(data, space.backbone)
    del good[name]
    with pytest.raises(CorruptRegistryError):
        RouterSpace.from_bytes(save(good, metadata=space._header()), space.backbone)


def test_a_background_that_is_none_is_not_current() -> None:
    assert not is_current(b"") and not is_current(b"whatever this is, it is no background")


def test_a_router_that_there_is_not(space: RouterSpace) -> None:
    with pytest.raises(BackboneError, match="no router called 'oracle'; there are discriminant, prototypes, ridge"):
        RouterSpace.of(space.backbone, "oracle")


@pytest.mark.parametrize(("depth", "layers"), [(1, 1), (2, 2), (3, 2), (12, 3), (24, 6)])
def test_a_quarter_of_the_layers_describes_a_clip(depth: int, layers: int) -> None:
    assert layers_of(depth) == layers


@pytest.mark.slow
def test_copies_have_no_treble_or_went_through_a_codec_or_are_a_part_or_have_noise_around() -> None:
    (clip,) = clips(synth.rain, 1, 3, seconds=2.5)
    same, dull, lossy, second, part, noisy = copies(clip)
    assert len(copies(clip)) == COPIES
    assert same is clip
    assert len(second) == SAMPLE_RATE
    assert 0.3 * SAMPLE_RATE <= len(part) <= len(clip)
    assert np.array_equal(part, copies(clip)[4]), "a task's routing does not hang on chance"
    assert len({len(copies(each)[4]) for each in clips(synth.rain, 4, 4)}) == 4
    spectrum = np.abs(np.fft.rfft(dull))
    above = spectrum[int(3400 * len(clip) / SAMPLE_RATE) + 2 :]
    assert above.max() < 1e-3 * spectrum.max()
    assert lossy.dtype == np.float32 and abs(len(lossy) - len(clip)) < 4000
    assert np.array_equal(noisy, copies(clip)[5])
    before = int(np.flatnonzero(noisy == clip[0])[0])
    assert np.array_equal(noisy[before : before + len(clip)], clip)
    around = np.concatenate([noisy[:before], noisy[before + len(clip) :]])
    assert 0 < len(around) < 2 * SAMPLE_RATE
    assert 30 <= 20 * np.log10(np.std(clip) / np.std(around)) <= 61
    assert all(np.isfinite(copy).all() for loud in (0.0, 1e-7, 50.0) for copy in copies(clip * np.float32(loud)))


@pytest.mark.slow
@BOTH
def test_sounds_are_told_apart_and_strangers_are_nobodys(space: RouterSpace, tasks: Tasks, kind: str) -> None:
    router = Router(tasks[kind])
    routes = router.choose(space.describe([clip for name in MAKERS for clip in recorded(name, 5, 900)]))
    assert [route.task for route in routes] == [name for name in MAKERS for _ in range(5)]
    assert sum(route.known for route in routes) >= 12
    strangers = [_noise(SAMPLE_RATE, 1.0).astype(np.float32), np.zeros(SAMPLE_RATE, np.float32)]
    strangers += [*clips(synth.engine, 3, 5), *clips(synth.bell, 3, 6)]
    assert sum(route.known for route in router.choose(space.describe(strangers))) <= 1


NearlyNoise = tuple[dict[str, tuple[Tensor, Tensor]], Tensor, Tensor]


@pytest.fixture(scope="module")
def nearly_noise(space: RouterSpace) -> NearlyNoise:
    """The descriptions of two tasks to learn, of further clips of them, and of noises, for every kind of router."""
    recordings = {name: clips(maker, 44, 3) for name, maker in (("weather", synth.rain), ("machines", synth.engine))}
    made = {name: described(space, each[:12], each[12:32]) for name, each in recordings.items()}
    noises = [_noise(length, 0.2).astype(np.float32) for length in range(16_000, 48_000, 4_000)]
    noises += [low_passed(noise) for noise in noises]
    own = [clip for each in recordings.values() for clip in each[32:]]
    return made, space.describe(own), space.describe(noises)


@pytest.mark.slow
@BOTH
def test_noise_is_nobodys_where_a_task_is_nearly_noise(
    space: RouterSpace, nearly_noise: NearlyNoise, kind: str
) -> None:
    made, own, noises = nearly_noise
    of_kind = RouterSpace.of(space.backbone, kind)
    torch.testing.assert_close(of_kind.describe([_noise(16_000, 0.2).astype(np.float32)]), noises[:1])
    router = Router({name: learned(kind, *both, of_kind.noise) for name, both in made.items()}, of_kind.noise)
    assert np.mean([route.known for route in router.choose(own)]) > 0.75
    assert not any(route.known for route in router.choose(noises))


SHORTCUTS: dict[str, Change] = {
    "without treble": low_passed,
    "as low mp3": coded,
    "trimmed": lambda c: c[1600:-1600],
    "padded with faint noise": CHANGES["padded with faint noise"],
    "quieter": CHANGES["quieter"],
    "its first half": lambda c: c[: len(c) // 2],
    "its middle second": second_of,
    "twice": lambda c: np.tile(c, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", SHORTCUTS.values(), ids=SHORTCUTS)
def test_no_task_owns_a_band_or_a_codec(space: RouterSpace, tasks: Tasks, change: Change) -> None:
    """One task has no treble; then no clip of any task has any."""
    changed = [change(clip).astype(np.float32) for name in MAKERS for clip in recorded(name, 5, 950)]
    points = space.describe(changed)
    for kind in KINDS:
        found = [route.task for route in Router(tasks[kind]).choose(points)]
        right = [route == name for route, name in zip(found, [n for n in MAKERS for _ in range(5)], strict=True)]
        assert sum(right) >= 14, (kind, found)


REAL = Path(os.environ.get("CL_AST_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "fsdd").is_dir(), reason="needs the real recordings")
def test_real_speech_keeps_its_task_when_everything_is_telephone(space: RouterSpace) -> None:
    """Digits at 8 kHz against commands at 16: a few clips, so a loose bound; docs/routing.md has the figures."""
    found = {name: sorted((REAL / name / "audio").rglob("*.ogg")) for name in ("fsdd", "asc")}
    recordings = {name: [audio.read(path) for path in paths[:: len(paths) // 40][:40]] for name, paths in found.items()}
    made = {name: described(space, h[::2], h[1::4]) for name, h in recordings.items()}
    changed = {name: space.describe([low_passed(clip) for clip in h[3::4]]) for name, h in recordings.items()}
    for kind in KINDS:
        router = Router({name: learned(kind, *both) for name, both in made.items()})
        right = [route.task == name for name, clips in changed.items() for route in router.choose(clips)]
        assert np.mean(right) > 0.75, kind
