"""What a batch is to do: found out from the records in the folder of the results, without opening a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.batch.inputs import Recording
from pipeline.batch.results_folder import ResultsFolder, key_of, recording_id
from pipeline.batch.stretches import Splitting


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What is known of the inputs before a run.

    Attributes:
        recordings: all inputs, by name.
        done: names of those that earlier runs have done.
        failed: names of those that earlier runs have set aside, and this one does not try again.
        to_do: the rest, as far as the limit goes: the largest first, so that no worker is left alone with a large one.
        retried: of these, what was set aside before.
        split: which recordings are split; None for none.
    """

    recordings: Mapping[str, Recording]
    done: frozenset[str]
    failed: frozenset[str]
    to_do: Sequence[Recording]
    retried: Sequence[Recording]
    split: Splitting | None = None


def plan_batch(
    recordings: Sequence[Recording], folder: ResultsFolder, limit: int | None, retry_failed: bool
) -> BatchPlan:
    """Find out what is to do; opens only recordings whose time has changed since they were done.

    Args:
        recordings: all inputs.
        folder: of the results.
        limit: how many are to do at most; None for all.
        retry_failed: what was set aside is to do as well.
    """
    done_keys, failed_keys = folder.done(), folder.failed()
    earlier = {key.partition("-")[0]: key for key in done_keys}
    done, failed, to_do = set(), set(), []
    for recording in recordings:
        key = key_of(recording)
        known = earlier.get(recording_id(recording))
        if key in done_keys or (known is not None and folder.adopt(recording, known)):
            done.add(recording.name)
        elif key in failed_keys and not retry_failed:
            failed.add(recording.name)
        else:
            to_do.append(recording)
    to_do = sorted(to_do[:limit], key=lambda recording: -recording.size)
    return BatchPlan(
        {recording.name: recording for recording in recordings},
        frozenset(done),
        frozenset(failed),
        to_do,
        [recording for recording in to_do if key_of(recording) in failed_keys],
    )
