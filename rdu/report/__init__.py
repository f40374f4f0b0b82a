"""What a run took, and how it looks."""

from __future__ import annotations

from rdu.report.records import KernelReport, Roof, StageReport
from rdu.report.report import Report

__all__ = ["KernelReport", "Report", "Roof", "StageReport"]
