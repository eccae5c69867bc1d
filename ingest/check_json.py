"""What `fulcrum check --json` prints: the counts and findings of a report, for programs (docs/spec.md)."""

from typing import Any

from ingest.check_report import CheckReport


def as_json(report: CheckReport) -> dict[str, Any]:
    """Returns the report as JSON takes it; keys and types stay as they are documented."""
    return {
        "ok": report.ok,
        "inputs": {
            source: {
                "rows": count.rows,
                "quarantined": count.quarantined,
                "unused": count.unused,
                "reasons": dict(count.reasons),
            }
            for source, count in report.inputs.items()
        },
        "examples": report.examples,
        "tasks": {
            task.name: {
                "examples": task.impressions,
                "in_space": task.in_space,
                "positives": task.positive if task.is_regression else int(task.positive),
            }
            for task in report.tasks
        },
        **({"unripe": dict(report.unripe)} if report.spec.log.layout == "events" else {}),
        "columns": {
            name: {
                "kind": column.kind,
                "missing": column.missing,
                "distinct": column.distinct,
                "values": list(column.values),
            }
            for name, column in report.column_samples.items()
        },
        "users": report.distinct_users,
        "findings": [
            {"severity": finding.severity, "where": finding.where, "message": finding.message}
            for finding in report.findings
        ],
    }
