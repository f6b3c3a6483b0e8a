"""The command `train`: trains on annotated images."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from pipeline.commands.program import Parser, set_up_logging
from pipeline.commands.signals import handled
from pipeline.commands.stop_request import StopRequest
from pipeline.commands.train_settings import can_resume, settings_from
from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.installation import program_name
from pipeline.settings.model_settings import Backend, Device
from pipeline.sinks.paths import Inputs, Outputs

DESCRIPTION = """\
Train on your own annotated images (COCO JSON with polygons or masks). The result, OUTPUT/best.h5, carries its settings
and class names: the program needs no more than --weights OUTPUT/best.h5 to use it.
Ctrl-C ends a run early; the same command resumes it.
"""


def run(argv: Sequence[str]) -> int:
    """Train; return 0, or 130 or 143 after an interruption."""
    given = _parser().parse_args(argv)
    set_up_logging(given.verbose)
    output = user_path(given.output, "--output")
    if output.exists() and not output.is_dir():
        raise InputError(f"--output {output}: expected a folder, it is a file")
    settings = settings_from(given, output)
    outputs = Outputs(Inputs.of(settings.files_read()))
    if not (given.resume or can_resume(output)):
        outputs.claim_folder(output, "--output")
    from pipeline.commands.train_run import TrainRun  # imports OpenCV

    stop = StopRequest()
    with handled(stop.handle, signal.SIGINT, signal.SIGTERM), outputs.reserved(output) as folder:
        return TrainRun(settings, folder, Backend(given.backend), Device(given.device), given.float16, stop).run()


def _parser() -> Parser:
    parser = Parser(prog=f"{program_name()} train", description=DESCRIPTION, allow_abbrev=False)
    group = parser.add_argument_group("data")
    group.add_argument("--images", metavar="DIR", help="folder of the images")
    group.add_argument("--annotations", metavar="FILE", help="COCO instances file")
    group.add_argument("--val-images", metavar="DIR", help="images to validate on (default: a tenth of --images)")
    group.add_argument("--val-annotations", metavar="FILE", help="their annotations")
    group.add_argument("--classes", type=_names, metavar="A,B", help="categories to learn (default: all)")
    group = parser.add_argument_group("network")
    group.add_argument(
        "--weights", metavar="FILE", help="initial weights: a .h5 file or 'imagenet' (default: the shipped weights)"
    )
    group.add_argument("--backbone", choices=["resnet50", "resnet101", "efficientnet_lite0"], help="of the weights")
    group.add_argument(
        "--size", type=int, metavar="PIXELS", help="longer side of the network's input (default: the file's)"
    )
    group.add_argument("--layers", metavar="WHICH", help="heads, 5+, 4+, 3+, all or a pattern of names (default 4+)")
    group = parser.add_argument_group("schedule")
    group.add_argument("--output", metavar="DIR", required=True, help="folder of the run")
    group.add_argument("--epochs", type=float, metavar="N", help="passes over the images (default: 40)")
    group.add_argument("--steps", type=int, metavar="N", help="the length in steps instead")
    group.add_argument("--batch", type=int, metavar="N", help="windows per step (default 4)")
    group.add_argument(
        "--window", type=int, metavar="PIXELS", help="side of a training window (default: 5/8 of the size)"
    )
    group.add_argument("--learning-rate", type=float, metavar="RATE", help="its peak (default: by network and weights)")
    group.add_argument("--augmentation", choices=["full", "mild", "off"], help="default: full")
    group.add_argument("--validate-every", type=int, metavar="STEPS", help="default: 15 times in a run")
    group.add_argument("--seed", type=int, metavar="N", help="of all random choices (default 1)")
    group.add_argument("--resume", action="store_true", help="resume the run in --output; needs no other option")
    group = parser.add_argument_group("machine")
    group.add_argument(
        "--precision",
        choices=["auto", "float32", "mixed"],
        help="mixed: 16 bits where they suffice (default: where faster)",
    )
    group.add_argument("--backend", choices=[one.value for one in Backend], default="auto", help="Keras backend")
    group.add_argument("--device", choices=[one.value for one in Device], default="auto")
    group.add_argument("--float16", action="store_true", help="weight files of half the size")
    group.add_argument("--verbose", action="store_true", help="log more")
    return parser


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
