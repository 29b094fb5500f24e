"""Settings of all tests: one hypothesis profile, the same examples on every run."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "minivision",
    deadline=None,              # the first call of a kernel compiles it
    derandomize=True,
    max_examples=40,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("minivision")
