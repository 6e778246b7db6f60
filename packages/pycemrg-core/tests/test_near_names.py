from pycemrg.core.near_names import did_you_mean, near_names


def test_names_are_offered_with_the_closest_first():
    known = ["left_atrium", "atrium_right", "atrium_left"]
    assert near_names("atrium_lefd", known)[0] == "atrium_left"


def test_no_name_is_offered_when_none_is_near():
    assert did_you_mean("aorta", ["LV_myo", "RV_myo"]) == ""


def test_several_near_names_are_all_offered():
    assert did_you_mean("LV_wal", ["RV_wall", "LV_wall"]) == (
        " (did you mean 'LV_wall' or 'RV_wall'?)"
    )
