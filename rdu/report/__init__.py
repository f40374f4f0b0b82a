"""What a run took, and how it looks."""

from __future__ import annotations

from rdu.report.report import KernelReport, Report, Roof, StageReport

__all__ = ["KernelReport", "Report", "Roof", "StageReport"]
