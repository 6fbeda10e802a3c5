"""How long a drawn case takes depends on what else the machine does, and is nobody's mistake."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("vswitchlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vswitchlab")
