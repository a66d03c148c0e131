"""Progress for Stageline from a Python script, with the standard library only.

Put this file beside your script (`stageline submit -e python -s run.py --input stageline.py`):

    import stageline

    params = stageline.params({"steps": 100})
    stageline.stage("Setup", message="reading the mesh")
    for step in stageline.track(range(params["steps"]), "Solve"):
        ...
        stageline.progress(metrics={"residual": r})
    stageline.result({"residual": r})

Each call prints one line of the progress contract (docs/engines.md). Run by hand, a script prints the same
lines, so nothing depends on Stageline being there. Under `mpirun` only the first process prints.
"""

import json
import math
import os
import sys
import time
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, TypeVar

T = TypeVar("T")

# The worker writes counters every few seconds; printing each of a million items would only cost time.
_PERIOD_SECONDS = 0.2
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")


def stage(name: str, total: Optional[int] = None, message: Optional[str] = None) -> None:
    """Begin the stage `name`, and with it end the one before. Name each stage once."""
    _say(stage=name, total=total, message=message)


def progress(
    done: Optional[int] = None,
    total: Optional[int] = None,
    message: Optional[str] = None,
    metrics: Optional[Mapping[str, float]] = None,
) -> None:
    """Tell how many items of the current stage are done, or anything else about it."""
    _say(done=done, total=total, message=message, metrics=metrics)


def track(items: Iterable[T], name: str, total: Optional[int] = None, done: int = 0) -> Iterator[T]:
    """Begin the stage `name` and count the items as the loop takes them, beyond those that were `done` before."""
    if total is None:
        try:
            total = done + len(items)  # type: ignore[arg-type]
        except TypeError:
            pass
    _say(stage=name, done=done, total=total)
    said, said_at = done, time.monotonic()
    for item in items:
        yield item
        done += 1
        if time.monotonic() - said_at >= _PERIOD_SECONDS:
            said, said_at = done, time.monotonic()
            _say(done=done)
    if said < done:
        _say(done=done)


def result(values: Any) -> None:
    """Give the task's result: anything that JSON can say in 1 MiB. The last one counts."""
    _say(result=values)


def diverged(reason: str) -> None:
    """Tell that the solution is worth nothing. The task fails with DIVERGED and this reason, however the script ends; with
    `stopOnDivergence` it is stopped at once. The first reason counts."""
    _say(diverged=reason)


def checkpoint(path: str) -> None:
    """Name a file, or a folder, of the job folder from which another attempt can go on. Write it under another name
    and rename it, so that it is whole at every moment."""
    _say(checkpoint=path)


def resumed() -> bool:
    """Whether what an earlier attempt named by `checkpoint` is in the job folder."""
    return os.environ.get("STAGELINE_RESUME") == "1"


def params(defaults: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """The task's `params` over `defaults`: the JSON file that is the script's first argument, if there is one."""
    values = dict(defaults or {})
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as file:
            values.update(json.load(file))
    return values


def _say(**keys: Any) -> None:
    if _rank() != 0:
        return
    said = {key: _finite(value) for key, value in keys.items() if value is not None}
    print("::stageline " + json.dumps(said, default=_plain), flush=True)


def _rank() -> int:
    ranks = (os.environ[name] for name in _RANKS if name in os.environ)
    return next((int(rank) for rank in ranks if rank.isdigit()), 0)


def _finite(value: Any) -> Any:
    """Without NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    """What numpy has as numbers and lists of Python's; anything else as its text."""
    return _finite(value.tolist()) if hasattr(value, "tolist") else str(value)


def _self_test() -> None:
    import contextlib
    import io

    def lines(call: Any) -> list:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            call()
        assert all(line.startswith("::stageline {") for line in out.getvalue().splitlines())
        return [json.loads(line[len("::stageline ") :]) for line in out.getvalue().splitlines()]

    assert lines(lambda: stage("A", 3)) == [{"stage": "A", "total": 3}]
    assert lines(lambda: progress(1, metrics={"a": math.nan, "b": 2})) == [{"done": 1, "metrics": {"a": None, "b": 2}}]
    counted = lines(lambda: list(track(iter("abc"), "B")))
    assert counted == [{"stage": "B", "done": 0}, {"done": 3}]
    counted = lines(lambda: list(track(range(7, 9), "B", done=7)))
    assert counted == [{"stage": "B", "done": 7, "total": 9}, {"done": 9}]
    assert lines(lambda: result({"x": [math.inf, 1]})) == [{"result": {"x": [None, 1]}}]
    assert lines(lambda: diverged("the residual is nan")) == [{"diverged": "the residual is nan"}]
    assert lines(lambda: checkpoint("state.npz")) == [{"checkpoint": "state.npz"}]
    os.environ["OMPI_COMM_WORLD_RANK"] = "1"
    assert lines(lambda: stage("C")) == []
    print("ok")


if __name__ == "__main__":
    _self_test()
