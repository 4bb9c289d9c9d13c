"""The pictures of the gallery: what each shows, and the commands that make it."""

from typing import NamedTuple


class Picture(NamedTuple):
    """A picture of docs/gallery.

    Attributes:
        file: its name there.
        title, shows: what a reader sees.
        commands: that make it, in their order; each is `ebm …`.
        made: files that the commands leave, of which the picture is made, side by side; of a screen the page, or
            nothing where it is the terminal of the last command.
        captions: of the files, where there are several.
        about: how long that takes on two cores, where no one has measured it with `make gallery`.
    """

    file: str
    title: str
    shows: str
    commands: tuple[str, ...]
    made: tuple[str, ...]
    about: str = ""
    captions: tuple[str, ...] = ()


ROOT = "outputs/gallery"
MOONS = f"ebm train method=nce dataset=moons hydra.run.dir={ROOT}/moons"
CIRCLES = f"ebm train method=nce dataset=circles hydra.run.dir={ROOT}/circles"
EIGHT = f"ebm train method=nce dataset=eight_gaussians hydra.run.dir={ROOT}/eight_gaussians"
DIGITS = (
    f"ebm train dataset=digits dataset.noise_std=2 energy=conv method=pcd steps=3000 hydra.run.dir={ROOT}/half_digits"
)
BOTH = f"ebm sample 'checkpoint=[{ROOT}/moons,{ROOT}/circles]'"

PICTURES = (
    Picture(
        "nce_moons.png",
        "Two moons",
        "Data above, model below, after 8,000 steps of noise contrastive estimation.",
        (MOONS,),
        (f"{ROOT}/moons/figures/final.png",),
        "a minute",
    ),
    Picture(
        "train.svg",
        "The terminal of `ebm train`",
        "The bar half way, and the closing panel: each result beside its true value or its noise floor, and a verdict.",
        (f"ebm train method=nce dataset=moons hydra.run.dir={ROOT}/screen",),
        (),
        "a minute",
    ),
    Picture(
        "without_noise.png",
        "Langevin dynamics without its noise",
        "Chains collapse onto the modes.",
        (
            EIGHT,
            f"ebm sample checkpoint={ROOT}/eight_gaussians sampler=langevin sampler.noise_scale=0 "
            f"hydra.run.dir={ROOT}/without_noise",
        ),
        (f"{ROOT}/without_noise/samples.png",),
        "a minute",
    ),
    Picture(
        "composition.png",
        "Two models as one",
        "Likely for both, likely for either, moons but not circles.",
        (
            MOONS,
            CIRCLES,
            f"{BOTH} hydra.run.dir={ROOT}/product",
            f"{BOTH} compose.kind=mixture hydra.run.dir={ROOT}/mixture",
            f"{BOTH} 'compose.weights=[1,-0.5]' hydra.run.dir={ROOT}/but_not",
        ),
        tuple(f"{ROOT}/{name}/samples.png" for name in ("product", "mixture", "but_not")),
        "three minutes",
        ("likely for both", "likely for either", "moons but not circles"),
    ),
    Picture(
        "compare.png",
        "The page of `ebm compare`",
        "Which method is best, and what it costs. Made by a browser, where chromium is on the path.",
        (
            "ebm train -m method=nce,sm,ssm,cd,fce dataset=eight_gaussians seed=1,2,3 steps=2000 "
            f"hydra.sweep.dir={ROOT}/sweep",
            f"ebm compare runs={ROOT}/sweep "
            "'metrics=[eval/kl,eval/nll,eval/fisher,eval/mode_tv,eval/sliced_wasserstein]' "
            f"hydra.run.dir={ROOT}/compare",
        ),
        (f"{ROOT}/compare/compare.html",),
        "four minutes",
    ),
    Picture(
        "digits_pcd.png",
        "Digits",
        "Held-out digits, samples of chains from noise, and each sample above its nearest training row.",
        (f"ebm train experiment=digits_pcd seed=2 hydra.mode=RUN hydra.run.dir={ROOT}/digits",),
        (f"{ROOT}/digits/figures/final.png",),
        "3 to 7 minutes",
    ),
    Picture(
        "inpainting.png",
        "Lower halves from upper ones",
        "Held-out digits, their lower halves sampled; rows.npz holds eight and the mask (`tests/gallery/halves.py`).",
        (
            DIGITS,
            f"ebm sample checkpoint={ROOT}/half_digits init={ROOT}/rows.npz mask={ROOT}/rows.npz "
            f"hydra.run.dir={ROOT}/inpainting",
        ),
        (f"{ROOT}/inpainting/samples.png",),
        "5 minutes",
    ),
)
