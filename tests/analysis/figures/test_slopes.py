from matplotlib.figure import Figure

from analysis.figures.slopes import draw_slopes, slopes_picture
from analysis.statistics.contrasts import contrasts_data
from tests.analysis.conftest import StoreBuilder, with_info


def test_each_seed_has_a_line_and_the_mean_a_thick_one(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.84])
    store.cell([0.83, 0.84, 0.88], sharing=True)
    absent = {"name": "absent", "plus": [{"aux_weight": 7}], "minus": [{"aux_weight": 0}]}
    sharing = {"name": "sharing", "plus": [{"sharing": True}], "minus": [{"sharing": False}]}
    data = with_info(store.load(), contrasts=[sharing, absent])
    contrasts = contrasts_data(data)
    picture = slopes_picture(data, contrasts)
    assert picture is not None
    assert slopes_picture(data, contrasts[1:]) is None
    figure = Figure()
    draw_slopes(data, data.info.seeds, contrasts[0], ax := figure.add_subplot())
    drawn = [line.get_ydata().round(6).tolist() for line in ax.lines]
    assert drawn == [[80, 83], [82, 84], [84, 88], [82, 85]]
