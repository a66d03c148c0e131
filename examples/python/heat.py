"""Heat in a rod with cold ends, by explicit steps in plain Python, beside the exact solution.

    stageline submit --watch -e python -s python/heat.py --input stageline.py -p points=101 -p seconds=0.05

By hand: PYTHONPATH=examples python3 examples/python/heat.py
"""

import math

import stageline

params = stageline.params({"points": 101, "seconds": 0.05})
points, seconds = int(params["points"]), float(params["seconds"])
if points < 3 or seconds <= 0:
    raise ValueError(f"points must be 3 or more and seconds positive, not {points} and {seconds}")

stageline.stage("Setup", message=f"{points} points")
h = 1.0 / (points - 1)
steps = math.ceil(seconds / (0.4 * h * h))
dt = seconds / steps
u = [math.sin(math.pi * i * h) for i in range(points)]

for step in stageline.track(range(steps), "Heat"):
    r = dt / (h * h)
    u = [0.0] + [u[i] + r * (u[i - 1] - 2 * u[i] + u[i + 1]) for i in range(1, points - 1)] + [0.0]
    if step % 100 == 0:
        stageline.progress(message=f"t = {step * dt:.4f}", metrics={"peak": max(u), "t": step * dt})

stageline.stage("Compare", message="with the exact solution")
decay = math.exp(-math.pi**2 * seconds)
error = max(abs(value - decay * math.sin(math.pi * i * h)) for i, value in enumerate(u))
stageline.progress(metrics={"error": error})
stageline.result({"steps": steps, "peak": max(u), "error": error})
print(f"{steps} steps, peak {max(u):.6f}, error {error:.2e}")
