from types import SimpleNamespace

from benchmarks import coco
from tests.benchmarks.rows.fakes import opening


def test_mask_ap_counts_the_doubtful_too(monkeypatch):
    engines = opening(monkeypatch, coco)
    monkeypatch.setattr(coco, "read_ground_truth", lambda path: f"truth of {path}")

    def evaluate(segmenter, truth, images):
        assert (truth, str(images)) == ("truth of a.json", "photos")
        return SimpleNamespace(by_area={"mask": {"all": SimpleNamespace(ap=0.2, ap50=0.4)}})

    monkeypatch.setattr(coco, "evaluate", evaluate)
    assert coco.mask_ap({"weights": "w"}, "photos", "a.json") == {"AP": 0.2, "AP50": 0.4}
    assert engines[0].settings["min_score"] == 0.03
