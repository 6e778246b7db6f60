"""Run one case: segmentation, three label standards, openCARP mesh, volumes, picture.

python scripts/run_case.py
python scripts/run_case.py --segmentation patient_042.nii.gz --case-id patient_042
"""

import argparse
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from pycemrg.core import setup_logging
from pycemrg.data import LabelManager, LabelMapper
from pycemrg.files import OutputManager
from pycemrg.models import ModelManager
from pycemrg.system import CarpEnvironmentError, CarpRunner, CommandExecutionError, CommandRunner

STUDY = Path(__file__).resolve().parent.parent
CONFIG, SCRIPTS = STUDY / "config", STUDY / "scripts"
STANDARDS = ("clinical", "atlas", "simulation")

Volume = npt.NDArray[np.integer[Any]]
logger = logging.getLogger("run_case")


def run_case(segmentation: Path | None, outputs: OutputManager, cache_dir: Path) -> str:
    """Take a case from its segmentation to a mesh and a picture, and return its table."""
    runner = CommandRunner(logger=logger)
    standards = [LabelManager(CONFIG / f"{name}_labels.yaml") for name in STANDARDS]
    clinical, atlas, simulation = (outputs.get_path(f"_{name}.nii.gz") for name in STANDARDS)

    logger.info("1/6 segmentation: %s", segmentation or "none given, making an idealised heart")
    script: list[str | Path]
    if segmentation is None:
        script = [sys.executable, SCRIPTS / "make_heart.py", clinical]
        runner.run(script, expected_outputs=[clinical])
    image, labels = load_labels(segmentation or clinical)

    logger.info("2/6 reference volumes, fetched once and checked against their sha256")
    models = ModelManager(CONFIG / "models.yaml", cache_dir=cache_dir)
    references = models.get_model_path("adult_reference_volumes")

    logger.info("3/6 relabelling: %s", " -> ".join(STANDARDS))
    to_atlas, to_simulation = map(LabelMapper, standards, standards[1:])
    atlas_labels = to_atlas.apply(labels, unmapped="error")
    tags = to_simulation.apply(atlas_labels, unmapped="error")
    for volume, path in ((labels, clinical), (atlas_labels, atlas), (tags, simulation)):
        save(volume, image, path)

    logger.info("4/6 meshing %s voxels", f"{np.count_nonzero(tags):,}")
    mesh = [outputs.get_path(f"_mesh{suffix}") for suffix in (".pts", ".elem", ".lon")]
    script = [sys.executable, SCRIPTS / "mesh_voxels.py", simulation, mesh[1].with_suffix("")]
    runner.run(script, expected_outputs=mesh, on_output=lambda line: logger.info("  %s", line))
    check_tags(mesh[1], tags, standards[-1])

    logger.info("5/6 looking for CARPentry")
    ask_carpentry(runner)

    logger.info("6/6 table and picture")
    report = [outputs.get_path(suffix) for suffix in ("_structures.csv", "_slices.png")]
    script = [sys.executable, SCRIPTS / "report_case.py", clinical, simulation, mesh[1]]
    return runner.run([*script, references, *report], expected_outputs=report)


def load_labels(path: Path) -> tuple[Any, Volume]:
    """Return a segmentation as an image and as integers, indexed [i, j, k]."""
    try:
        image: Any = nib.squeeze_image(nib.load(path))
        values = np.asarray(image.dataobj)
    except Exception as error:  # a damaged file makes nibabel raise whatever it ran into
        raise ValueError(f"{path}: cannot be read as an image: {error}") from error
    if values.dtype.kind == "f" and np.allclose(values, np.rint(values), rtol=0, atol=1e-3):
        values = np.rint(values).astype(np.int32)  # a scaled header gives 2.99999 for 3
    if values.ndim != 3 or values.dtype.kind not in "iu":
        found = f"{values.dtype} of shape {values.shape}"
        raise ValueError(f"{path}: expected a 3D volume of integers, got {found}")
    return image, values


def save(labels: Volume, like: Any, path: Path) -> None:
    """Write a label volume whole, with the place and the header of another image."""
    image = nib.Nifti1Image(labels, like.affine, like.header, dtype=labels.dtype)
    draft = path.with_name(f".draft.{path.name}")
    nib.save(image, draft)
    draft.replace(path)


def check_tags(elem: Path, tags: Volume, simulation: LabelManager) -> None:
    """Refuse a mesh whose tags are no structures, or that has other tags than its volume."""
    with elem.open(encoding="ascii") as file:
        next(file)
        counts = Counter(line.rsplit(None, 1)[1] for line in file)
    elements = {int(tag): count for tag, count in counts.items()}
    unknown = sorted(set(elements) - set(simulation.get_values_from_names(["heart"])))
    values, voxels = np.unique(tags[tags != 0], return_counts=True)
    if unknown or elements != dict(zip(values.tolist(), voxels.tolist(), strict=True)):
        raise ValueError(f"{elem}: elements per tag {elements}, not in the heart: {unknown}")
    logger.info("tags checked; the myocardium is %s", simulation.get_tags_string(["myocardium"]))


def ask_carpentry(runner: CommandRunner) -> None:
    """Log what CARPentry's cusummary says, if there is one; its failure does not end the case."""
    config = CarpRunner.find_installation()
    if config is None:
        logger.info("no CARPentry installation found, so no cusummary")
        return
    try:
        summary = CarpRunner(runner, config).run(["cusummary"], timeout=60)
        logger.info("%s: cusummary says\n%s", config, summary)
    except (CarpEnvironmentError, CommandExecutionError, OSError) as error:
        logger.warning("%s: cusummary failed, the case goes on: %s", config, error)


def main() -> int:
    """Run the case named on the command line; all that is logged goes to a file too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segmentation", type=Path, help="label volume, clinical standard, in mm")
    parser.add_argument("--case-id", help="first part of every file name")
    parser.add_argument("--output-dir", type=Path, default=STUDY / "outputs")
    parser.add_argument("--cache-dir", type=Path, default=STUDY / "cache")
    args = parser.parse_args()
    try:
        given = args.segmentation.name.split(".")[0] if args.segmentation else "ideal_heart"
        outputs = OutputManager(args.output_dir, args.case_id or given)
        setup_logging(log_file=outputs.get_path(".log"))
        table = run_case(args.segmentation, outputs, args.cache_dir)
    except Exception as error:
        logger.error("%s", error.args[0] if isinstance(error, KeyError) else error)
        logger.debug("where it happened", exc_info=True)
        return 1
    print(table, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
