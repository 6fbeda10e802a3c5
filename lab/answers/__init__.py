"""Questions asked of a running lab: inject, capture, predict, compare. What is printed is in `lab.report`."""
