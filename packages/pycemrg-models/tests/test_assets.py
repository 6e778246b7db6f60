from pycemrg.assets import AssetManager, manager
from pycemrg.models import ModelManager


def test_an_asset_is_what_a_model_is_under_a_general_name(tmp_path, manifest):
    (tmp_path / "atlas.nii.gz").touch()
    path = manifest(v1={"url": "file://atlas.nii.gz"})
    assets = AssetManager(manifest_path=path, cache_dir=tmp_path / "cache")
    assert assets.get_asset_path("seg") == tmp_path / "atlas.nii.gz"
    assert assets.get_asset_path("seg", version="v1") == assets.get_model_path("seg")


def test_either_name_gives_the_same_class():
    assert AssetManager is manager.AssetManager is ModelManager
