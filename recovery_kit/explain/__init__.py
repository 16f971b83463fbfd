"""explain(): why totals differ, each cause with a grade of evidence."""

from recovery_kit.explain.copies import copies
from recovery_kit.explain.diagnose import explain
from recovery_kit.explain.diagnosis import GRADES, Diagnosis

__all__ = ["GRADES", "Diagnosis", "copies", "explain"]
