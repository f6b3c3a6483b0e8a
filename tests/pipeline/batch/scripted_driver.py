"""A driver whose workers follow a script, in a folder of its own on a clock that tests move."""

from dataclasses import replace

from pipeline.batch.batch_plan import plan_batch
from pipeline.batch.driver import Driver
from pipeline.batch.executor import Finished, Progressed
from pipeline.batch.inputs import recording_at
from pipeline.batch.leases import Drivers
from pipeline.batch.patience import Patience
from pipeline.batch.results_folder import ResultsFolder
from pipeline.batch.stretches import Stretch
from pipeline.batch.worker import Outcome, State
from tests.pipeline.batch.fakes import InProcess


class Scene:
    """A folder, recordings a, b, c … of 1, 2, 3 … bytes, and a driver of workers that follow a script."""

    def __init__(self, root, clock):
        self.root, self.clock = root, clock
        self.folder = ResultsFolder(root / "out")
        self.folder.make()
        self.notes = []
        self.states = []
        self.advance_s = 1.0

    def recordings(self, names="abc"):
        found = []
        for number, name in enumerate(names):
            (self.root / name).write_bytes(b"x" * (number + 1))
            found.append(recording_at(name, str(self.root / name)))
        return found

    def driver(self, recordings, script, workers=1, patience=None, limit=None, retry_failed=False, split=None):
        plan = replace(plan_batch(recordings, self.folder, limit, retry_failed), split=split)
        self.executor = InProcess(None, workers, script)
        return Driver(plan, self.folder, (), self.executor, patience or Patience(), self.clock, self.note)

    def note(self, what, **fields):
        self.notes.append((what, fields))

    def tick(self, state):
        self.states.append(state)
        self.clock.now_s += self.advance_s

    def run(self, *given, **more):
        driver = self.driver(*given, **more)
        driver.run(self.tick)
        return driver

    def happened(self, what, key="name"):
        return [fields[key] for kind, fields in self.notes if kind == what]


def commits(folder, frames=10):
    """A script whose attempts succeed."""

    def script(worker, claim):
        claim.work.mkdir()
        record = {"outputs": {}, "frames": frames, "objects": 1}
        state = State.DONE if folder.commit(claim, record) else State.LOST
        return [Progressed(worker, frames, frames), Finished(worker, Outcome(state, record))]

    return script


def fails(reason, may_pass):
    return lambda worker, claim: [Finished(worker, Outcome(State.FAILED, None, reason, may_pass))]


def leftovers(folder):
    return [path for part in (folder.claims, folder.work, folder.drivers) for path in part.rglob("*") if path.is_file()]


def another(scene):
    drivers = Drivers(scene.folder.drivers, scene.clock)
    drivers.beat()
    return drivers


def cuts(folder, then=None):
    """A script whose recordings are split in three, and whose other attempts do as another script says, or succeed."""

    def script(worker, claim):
        recording, splitting = claim.unit, claim.splitting
        if not isinstance(recording, Stretch) and splitting is not None and not claim.joins:
            if splitting.most != 1:
                folder.keep_split(recording, (1000, 2000), 30)
            if folder.stretches_of(recording):
                return [Finished(worker, Outcome(State.SPLIT))]
        events = then(worker, claim) if then is not None else None
        return (
            commits(folder, 10 if isinstance(claim.unit, Stretch) else 30)(worker, claim) if events is None else events
        )

    return script


def units(scene):
    """What was given to workers: "a", then "1/3" and so on."""
    return [fields.get("stretch", fields["name"]) for what, fields in scene.notes if what == "started"]
