"""Run one case: segmentation, three label standards, openCARP mesh, volumes, picture.

python scripts/run_case.py
python scripts/run_case.py --segmentation patient_042.nii.gz --case-id patient_042
"""

import argparse
import logging
import re
import signal
import sys
from pathlib import Path
from typing import Any

try:
    import nibabel as nib
    import numpy as np
    import numpy.typing as npt

    from pycemrg.core import setup_logging
    from pycemrg.core.whole_files import whole_file
    from pycemrg.data import LabelManager, LabelMapper
    from pycemrg.data.meshes import count_tags
    from pycemrg.data.volumes import read_labels
    from pycemrg.files import OutputManager
    from pycemrg.models import ModelManager
    from pycemrg.system import CarpRunner, CommandRunner
except ImportError as error:
    command = f'python -m pip install -e "{Path(__file__).resolve().parent.parent}"'
    sys.exit(f"this script needs {error.name or error}; install what the study needs: {command}")

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
    """Return a segmentation as a NIfTI image and as integers, indexed [i, j, k]."""
    values, affine = read_labels(path)
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.dtype.kind == "f" and np.allclose(values, np.rint(values), rtol=0, atol=1e-3):
        values = np.rint(values).astype(np.int32)
    if values.ndim != 3 or values.dtype.kind not in "iu":
        raise ValueError(f"{path}: {values.dtype} {values.shape}; expected a volume of integers")
    header: Any = nib.load(path).header if ".nii" in path.name.lower() else None
    return nib.Nifti1Image(values, affine, header, dtype=values.dtype), values


def save(labels: Volume, like: Any, path: Path) -> None:
    """Write a label volume, whole or not at all, with the place and header of another image."""
    image = nib.Nifti1Image(labels, like.affine, like.header, dtype=labels.dtype)
    with whole_file(path) as draft:
        nib.save(image, draft)


def check_tags(elem: Path, tags: Volume, simulation: LabelManager) -> None:
    """Refuse a mesh whose tags are no structures, or that has other tags than its volume."""
    elements = count_tags(elem)
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
    except (OSError, RuntimeError) as error:
        logger.warning("%s: cusummary failed, the case goes on: %s", config, error)


def main() -> int:
    """Run the case named on the command line; all that is logged goes to a file too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segmentation", type=Path, help="label volume, clinical standard, in mm")
    parser.add_argument("--case-id", help="first part of every file name")
    parser.add_argument("--output-dir", type=Path, default=STUDY / "outputs")
    parser.add_argument("--cache-dir", type=Path, default=STUDY / "cache")
    args = parser.parse_args()
    for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup has SIGHUP ignored
            # An exception makes CommandRunner end what runs, which is in a session of its own.
            signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    given = args.segmentation.name if args.segmentation else "ideal_heart"
    case_id = args.case_id or re.sub(r"\.(nii(\.gz)?|nrrd|nhdr)$", "", given, flags=re.IGNORECASE)
    try:
        outputs = OutputManager(args.output_dir, case_id)
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
